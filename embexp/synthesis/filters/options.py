"""Which filters stand in the funnel, as options of the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from embexp.errors import ConfigError
from embexp.retrieval.index import Index
from embexp.synthesis.filters.duplicates import Duplicates
from embexp.synthesis.filters.funnel import Filter


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Builds the funnel; None, false or an empty list takes a filter out. Refusals and chatter always go.

    Args:
        min_query_words: The fewest words of a query.
        max_query_words: The most words of a query.
        min_passage_words: The fewest words of a passage that a language model wrote.
        max_passage_words: The most words of such a passage.
        languages: ISO 639-1 codes; queries that are surely in another language are dropped. Needs py3langid.
        copied: The share of a query, in (0, 1], that may not stand as one run in its passage.
        near_duplicates: The similarity, in (0, 1], from which two queries count as the same; 1 or None drops
            exact repeats alone.
        evidence: Whether a query must come with a quote that occurs in its chunk.
        overlap: For models that only complete text: the share of a query's words that its passage must hold.
        round_trip: A query must find its own chunk among this many hits, where there is an index.
        cross_encoder: A reranker's folder; pairs that it scores below ``cross_encoder_least`` are dropped.
        cross_encoder_least: The score to reach, in [0, 1].
        judge: The grade from 1 to 5 that the language model itself must give a pair.
        examples: How many dropped queries the report shows for each reason.
    """

    min_query_words: int = 2
    max_query_words: int = 80
    min_passage_words: int = 25
    max_passage_words: int = 300
    languages: list[str] = field(default_factory=list)
    copied: float | None = 0.8
    near_duplicates: float | None = 0.8
    evidence: bool = True
    overlap: float | None = 0.5
    round_trip: int | None = 10
    cross_encoder: str | None = None
    cross_encoder_least: float = 0.5
    judge: int | None = None
    examples: int = 5

    def __post_init__(self) -> None:
        for name in ("copied", "near_duplicates", "overlap", "cross_encoder_least"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"synthesis.filters.{name}={value}: give a share from 0 to 1, or null.")
        for name in ("query", "passage"):
            fewest, most = getattr(self, f"min_{name}_words"), getattr(self, f"max_{name}_words")
            if not 0 <= fewest <= most:
                raise ConfigError(
                    f"synthesis.filters.min_{name}_words={fewest} and max_{name}_words={most}: "
                    "the first must not be above the second."
                )
        if self.round_trip is not None and self.round_trip < 1:
            raise ConfigError(f"synthesis.filters.round_trip={self.round_trip}: give 1 or more, or null.")
        if self.judge is not None and not 1 <= self.judge <= 5:
            raise ConfigError(f"synthesis.filters.judge={self.judge}: give a grade from 1 to 5, or null.")

    def build(
        self,
        *,
        index: Index | None,
        passages: bool = False,
        completes: bool = False,
        seen: Iterable[str] = (),
    ) -> list[Filter]:
        """Return the filters in order: the cheap ones first, the one over the whole set last.

        Args:
            index: What the round trip searches; None leaves it out.
            passages: Whether a language model wrote the passages as well.
            completes: Whether the model only completes text, so that overlap stands in for evidence.
            seen: Queries that may not come back, as those of the examples.
        """
        duplicates = Duplicates(self.near_duplicates or 1.0, passages, tuple(seen))
        return [*self._single(index, passages=passages, completes=completes), duplicates]

    def _single(self, index: Index | None, *, passages: bool, completes: bool) -> Iterator[Filter]:
        from embexp.synthesis.filters.judging import CrossEncoderJudge, RoundTrip
        from embexp.synthesis.filters.text import Chatter, Copied, Language, Length, Overlap

        yield Chatter(passages)
        bounds = (self.min_passage_words, self.max_passage_words) if passages else None
        yield Length((self.min_query_words, self.max_query_words), bounds)
        if self.languages:
            yield Language(tuple(self.languages))
        if self.copied:
            yield Copied(self.copied)
        if completes and self.overlap:
            yield Overlap(self.overlap)
        if self.round_trip and index is not None:
            yield RoundTrip(index, self.round_trip)
        if self.cross_encoder:
            yield CrossEncoderJudge(self.cross_encoder, self.cross_encoder_least)
