"""Pairs without a language model: queries cut out of the documents, or picked from their words."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TypeVar, get_args

from embexp.data.records import HELD_OUT, Chunk, Document, Generator, Pair
from embexp.errors import ConfigError
from embexp.llm.llm import LLM
from embexp.progress import track
from embexp.retrieval.index import Index
from embexp.storage.files import sha256_of
from embexp.synthesis.candidates import (
    KINDS,
    Candidate,
    QueryType,
    Source,
    headings_of_several,
    summaries_of_several,
)
from embexp.synthesis.query_text import key, words
from embexp.synthesis.salience import Terms

log = logging.getLogger(__name__)


T = TypeVar("T")
GENERATOR = Generator(kind="extractive")


def _all_types() -> list[QueryType]:
    return list(get_args(QueryType))


def _most_human_types() -> list[QueryType]:
    return ["summary", "sentence"]


@dataclass(frozen=True, kw_only=True)
class Extractive:
    """Writes ``target`` pairs: mostly queries that people would ask, and some of the other kinds.

    Every document in turn gives a query of its most human kind (the first of ``held_out_types`` that
    it has); from the far end of the same order, every document in turn gives one of the other kinds.
    So a small target still asks about as many documents as it can, and any first part of what is
    yielded is balanced.

    Args:
        target: How many pairs to write in all.
        per_document: The most pairs that one document may give.
        held_out_share: The share of pairs of a document's most human kind, while there are any.
        query_types: The kinds of query to write.
        held_out_types: The kinds that may stand in dev and test, the most human first.
        max_query_words: A longer query is not used.
        min_passage_words: A passage that is shorter, once the query is cut out, is not used.
        seed: Draws the order of documents and chunks.
    """

    target: int = 2000
    per_document: int = 50
    held_out_share: float = 0.7
    query_types: list[QueryType] = field(default_factory=_all_types)
    held_out_types: list[QueryType] = field(default_factory=_most_human_types)
    max_query_words: int = 40
    min_passage_words: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("target", "per_document", "max_query_words", "min_passage_words"):
            if getattr(self, name) < 1:
                raise ConfigError(f"synthesis.{name}={getattr(self, name)}: give a whole number from 1 up.")
        if not 0 <= self.held_out_share <= 1:
            raise ConfigError(f"synthesis.held_out_share={self.held_out_share}: give a share from 0 to 1.")
        if not self.query_types:
            raise ConfigError(f"synthesis.query_types is empty: name at least one of {', '.join(KINDS)}.")
        for kind in [*self.query_types, *self.held_out_types]:
            if kind not in KINDS:
                raise ConfigError(f"synthesis.query_types: no kind {kind!r}; choose from {', '.join(KINDS)}.")

    def fingerprint(self) -> str:
        """Return an empty digest: the settings alone shape the pairs."""
        return ""

    def report(self) -> Mapping[str, object]:
        """Return nothing beyond what the pairs themselves tell."""
        return {}

    def pairs(
        self,
        chunks: Sequence[Chunk],
        documents: Mapping[str, Document],
        *,
        llm: LLM | None = None,  # noqa: ARG002
        index: Index | None = None,  # noqa: ARG002
    ) -> Iterator[Pair]:
        """Yield pairs in a fixed order: the same chunks, documents and seed give the same pairs.

        Args:
            chunks: The corpus.
            documents: The documents that the chunks were cut from, by id.
            llm: Not needed.
            index: Not needed.

        Yields:
            Pairs with distinct queries; ``positive`` is the passage without the query.
        """
        sources = self._sources(chunks, documents)
        human = _round_robin([partial(self._human, source) for source in sources])
        others = _round_robin(
            [partial(self._others, source, turn) for turn, source in enumerate(reversed(sources))]
        )
        kept = islice(self._kept(_mixed(human, others, self.held_out_share)), self.target)
        types: Counter[str] = Counter()
        for pair in track(kept, "Writing pairs", total=self.target):
            types[pair.query_type] += 1
            yield pair
        mix = ", ".join(f"{count:,} {kind}" for kind, count in types.most_common())
        log.info("Wrote %s pairs without a language model: %s.", f"{types.total():,}", mix or "none")

    def _sources(self, chunks: Sequence[Chunk], documents: Mapping[str, Document]) -> list[Source]:
        by_document: dict[str, list[Chunk]] = defaultdict(list)
        for chunk in chunks:
            by_document[chunk.document_id].append(chunk)
        terms = Terms.read(track((chunk.passage for chunk in chunks), "Weighing words", total=len(chunks)))
        shared = headings_of_several(chunks) | summaries_of_several(documents.values(), chunks)
        return [
            Source(
                document=documents.get(document_id, Document(id=document_id, text="")),
                chunks=sorted(by_document[document_id], key=lambda chunk: chunk.position),
                shuffled=sorted(by_document[document_id], key=lambda chunk: self._draw(chunk.id)),
                terms=terms,
                shared_queries=shared,
                most_words=self.max_query_words,
            )
            for document_id in sorted(by_document, key=self._draw)
        ]

    def _draw(self, name: str) -> tuple[str, str]:
        return sha256_of(self.seed, name), name

    def _human(self, source: Source) -> Iterator[Pair]:
        kind = self._most_human(source)
        return self._candidates(kind, source) if kind else iter(())

    def _others(self, source: Source, turn: int) -> Iterator[Pair]:
        human = self._most_human(source)
        kinds = [kind for kind in self.query_types if kind != human]
        first = turn % len(kinds) if kinds else 0
        rotated = [*kinds[first:], *kinds[:first]]
        return _round_robin([partial(self._candidates, kind, source) for kind in rotated])

    def _most_human(self, source: Source) -> QueryType | None:
        asked = (kind for kind in self.held_out_types if kind in self.query_types)
        return next((kind for kind in asked if any(True for _ in self._candidates(kind, source))), None)

    def _candidates(self, kind: QueryType, source: Source) -> Iterator[Pair]:
        for candidate in KINDS[kind](source):
            if len(words(candidate.positive)) >= self.min_passage_words:
                yield _pair(kind, candidate)

    def _kept(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """Pass on pairs with a new query, from documents that have not yet given their share."""
        seen: set[str] = set()
        given: Counter[str] = Counter()
        for pair in pairs:
            query = key(pair.query)
            if query in seen or given[pair.document_id] >= self.per_document:
                continue
            seen.add(query)
            given[pair.document_id] += 1
            yield pair


def _pair(kind: QueryType, candidate: Candidate) -> Pair:
    query, chunk, positive = candidate
    return Pair(
        id=sha256_of(kind, chunk.id, query)[:16],
        query=query,
        positive=positive,
        document_id=chunk.document_id,
        chunk_id=chunk.id,
        query_type=kind,
        generator=GENERATOR,
    )


def _round_robin(openers: Sequence[partial[Iterator[T]]]) -> Iterator[T]:
    """Take one item from each in turn until all are empty; each is opened when its first turn comes."""
    waiting: list[Iterator[T]] = []
    for opener in openers:
        stream = opener()
        for item in islice(stream, 1):
            yield item
            waiting.append(stream)
    while waiting:
        left: list[Iterator[T]] = []
        for stream in waiting:
            for item in islice(stream, 1):
                yield item
                left.append(stream)
        waiting = left


def _mixed(one: Iterator[T], other: Iterator[T], share: float) -> Iterator[T]:
    """Take ``share`` of the items from one stream and the rest from the other; then what either has left."""
    taken = total = 0
    while True:
        from_one = taken + 1 <= share * (total + 1)
        item = list(islice(one if from_one else other, 1))
        if not item:
            yield from (other if from_one else one)
            return
        yield from item
        taken += from_one
        total += 1


HELD_OUT_GENERATOR = Generator(kind=HELD_OUT)
ENOUGH = 1500
"""Queries to write where the documents are fewer; a tenth and a fifth of them are asked."""
MOST = 10
"""The most that one document gives, in turn with the others."""


def held_out_pairs(
    chunks: Sequence[Chunk], documents: Mapping[str, Document], *, seed: int
) -> Iterator[Pair]:
    """Yield queries by turns over the documents: summaries, and the most telling sentences of chunks.

    A model that is tuned on a language model's questions and tested on more of them may have learnt no
    more than how that model asks. These queries come from another hand.

    Args:
        chunks: The corpus.
        documents: The documents' headers by id.
        seed: Draws the order of documents and chunks.
    """
    extractive = Extractive(
        target=max(len({chunk.document_id for chunk in chunks}), ENOUGH),
        per_document=MOST,
        held_out_share=1.0,
        query_types=["summary", "sentence"],
        seed=seed,
    )
    for pair in extractive.pairs(chunks, documents):
        # An id of its own: another synthesis may have written the same pair for training.
        yield replace(pair, id=sha256_of(HELD_OUT, pair.id)[:16], generator=HELD_OUT_GENERATOR)
