"""The options of the filters, and the filters that they build."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Interval

from embexp.errors import ConfigError
from embexp.ranges import Share, check_ranges
from embexp.retrieval.index import Index
from embexp.synthesis.filters.funnel import Filter
from embexp.synthesis.filters.models import CrossEncoderFilter, RoundTrip
from embexp.synthesis.filters.text import Chatter, Copied, Duplicates, Language, Length, Overlap
from embexp.synthesis.languages import check_recogniser


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The filters; null, false or an empty list removes one. Refusals and chatter are always dropped.

    Args:
        min_query_words: The fewest words of a query.
        max_query_words: The most words of a query.
        min_passage_words: The fewest words of a passage that a language model wrote.
        max_passage_words: The most words of such a passage.
        same_language: Whether a query must be in the language of its document, or in the one that
            ``synthesis.language`` names; a clear mismatch is asked for again, then dropped.
        languages: ISO 639-1 codes; queries certainly in another language are dropped.
        copied: The share of a query's words, in (0, 1], that may not occur in its passage as one run.
        near_duplicates: The similarity, in (0, 1], from which two queries count as the same; 1 or None drops
            exact repeats alone.
        evidence: Whether a query needs a quote that occurs in its chunk.
        overlap: For models that only complete text: the share of a query's words that its passage must share.
        round_trip: A query must find its own chunk among this many hits (where there is an index).
        cross_encoder: A cross-encoder's folder, or its name on the Hugging Face Hub, that scores pairs.
        cross_encoder_least: The score that a pair must reach, in [0, 1].
        judge: The grade from 1 to 5 that the language model must give a pair.
        examples: The dropped queries that the report shows for each reason.
    """

    min_query_words: Annotated[int, Interval(ge=0, le=1_000_000)] = 2
    max_query_words: Annotated[int, Interval(ge=0, le=1_000_000)] = 80
    min_passage_words: Annotated[int, Interval(ge=0, le=1_000_000)] = 25
    max_passage_words: Annotated[int, Interval(ge=0, le=1_000_000)] = 300
    same_language: bool = True
    languages: list[str] = field(default_factory=list)
    copied: Share | None = 0.8
    near_duplicates: Share | None = 0.8
    evidence: bool = True
    overlap: Share | None = 0.5
    round_trip: Annotated[int, Interval(ge=1, le=1_000_000)] | None = 10
    cross_encoder: str | None = None
    cross_encoder_least: Share = 0.5
    judge: Annotated[int, Interval(ge=1, le=5)] | None = None
    examples: Annotated[int, Interval(ge=0, le=1_000_000)] = 5

    def __post_init__(self) -> None:
        check_ranges(self, "synthesis.filters")
        for name in ("query", "passage"):
            fewest, most = getattr(self, f"min_{name}_words"), getattr(self, f"max_{name}_words")
            if fewest > most:
                raise ConfigError(
                    f"synthesis.filters.min_{name}_words={fewest} and max_{name}_words={most}: "
                    "the first must not be above the second."
                )
        if self.languages:
            check_recogniser(f"synthesis.filters.languages={self.languages}")

    def check(self) -> None:
        """Check that languages can be recognised and are known, before anything is paid for.

        Raises:
            ConfigError: They cannot, or a code is unknown.
        """
        if self.languages:
            check_recogniser(f"synthesis.filters.languages={self.languages}")
            Language(tuple(self.languages)).check()
        if self.same_language:
            check_recogniser("synthesis.filters.same_language=true")

    def build(
        self,
        *,
        index: Index | None,
        passages: bool = False,
        completes: bool = False,
        seen: Iterable[str] = (),
    ) -> list[Filter]:
        """Return the filters in order: cheap ones first, duplicates last; the judge is not among them.

        Args:
            index: The index of the round trip; None leaves it out.
            passages: Whether a language model writes the passages too.
            completes: Whether the model only completes text, so that overlap replaces evidence.
            seen: Queries that count as duplicates, as those of the examples.
        """
        duplicates = Duplicates(self.near_duplicates or 1.0, passages, tuple(seen))
        return [*self._single(index, passages=passages, completes=completes), duplicates]

    def _single(self, index: Index | None, *, passages: bool, completes: bool) -> Iterator[Filter]:
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
            yield CrossEncoderFilter(self.cross_encoder, self.cross_encoder_least)
