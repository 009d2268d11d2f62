"""The held-out split as a retrieval task over the whole corpus."""

from __future__ import annotations

import hashlib
import logging
import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from embexp.benchmarking.benchmark import MoreSystems
from embexp.benchmarking.task import Query, RetrievalTask, judged, query_of
from embexp.data.records import Chunk, Pair, Unit
from embexp.errors import ConfigError, DataError

log = logging.getLogger(__name__)


CUT_OUT = frozenset({"summary", "title", "heading", "sentence"})
"""Kinds of query that stood in their chunk: the corpus holds ``Pair.positive`` in its place."""


@dataclass(frozen=True, kw_only=True)
class HeldOut(MoreSystems):
    """Asks the questions of a held-out split of the corpus that training, too, has drawn on.

    ``MoreSystems`` holds the arguments that all benchmarks share.

    Args:
        name: The task's name.
        limit: The most questions to ask; None for all. The corpus stays whole.
        relevant_from: Where labels are similarities and not whole grades: the share of the highest
            label from which a passage counts as relevant.
    """

    name: str = "heldout"
    limit: int | None = None
    relevant_from: float = 0.5

    def __post_init__(self) -> None:
        MoreSystems.__post_init__(self)
        if self.limit is not None and self.limit < 1:
            raise ConfigError(
                f"benchmark.limit={self.limit}: give a number from 1 up, or null for all questions."
            )
        if not 0 < self.relevant_from <= 1:
            raise ConfigError(f"benchmark.relevant_from={self.relevant_from}: give a share above 0, up to 1.")

    def task(self, chunks: Sequence[Chunk], pairs: Sequence[Pair], *, unit: Unit) -> RetrievalTask:
        """Return the task: the chunks without what was cut out as a query, the questions, the judgments.

        Args:
            chunks: The corpus.
            pairs: The held-out pairs.
            unit: Whether relevance is judged by document or by chunk.

        Returns:
            The task. A question without a relevant passage is left out and counted in the log.

        Raises:
            DataError: There is no question, the corpus has a single unit, or it lacks a judged one.
        """
        pairs = self._limited(pairs)
        _check(self.name, chunks, pairs, unit)
        qrels, first = judged(pairs, unit=unit, relevant_from=self.relevant_from)
        if not qrels:
            raise DataError(f"None of the {self.name} questions has a relevant passage: check the labels.")
        queries = [
            Query(id=name, text=pair.query, cluster=pair.document_id, query_type=pair.query_type)
            for name, pair in first.items()
        ]
        corpus = without_cut_outs(chunks, pairs)
        return RetrievalTask(name=self.name, corpus=corpus, queries=queries, qrels=qrels, unit=unit)

    def _limited(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        if self.limit is None:
            return pairs
        names = sorted(
            {query_of(pair) for pair in pairs}, key=lambda name: hashlib.sha1(name.encode()).digest()
        )
        kept = set(names[: self.limit])
        return [pair for pair in pairs if query_of(pair) in kept]


def fewer_chunks(chunks: Sequence[Chunk], asked: Collection[str], *, most: int, seed: int) -> list[Chunk]:
    """Return the chunks that are asked about, then a seeded sample of the others: quick to embed, and alike.

    Args:
        chunks: The corpus.
        asked: Ids of the chunks or documents that stay.
        most: The most others.
        seed: Draws them.
    """
    near: list[Chunk] = []
    far: list[Chunk] = []
    for chunk in chunks:
        (near if chunk.document_id in asked or chunk.id in asked else far).append(chunk)
    return [*near, *random.Random(seed).sample(far, min(most, len(far)))]


def without_cut_outs(chunks: Sequence[Chunk], pairs: Iterable[Pair]) -> list[Chunk]:
    """Return the corpus in which no question stands as it was cut out of its chunk.

    The chunk's passage becomes ``Pair.positive``. Chunks of the same document that repeat the question
    in their title lose that title. Chunk ids stay, so that judgments go on pointing at them.
    """
    replaced: dict[str, str] = {}
    asked: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        if pair.chunk_id and pair.query_type in CUT_OUT:
            replaced.setdefault(pair.chunk_id, pair.positive)
            asked[pair.document_id].add(_folded(pair.query))
    return [_without(chunk, replaced, asked.get(chunk.document_id, set())) for chunk in chunks]


def _without(chunk: Chunk, replaced: Mapping[str, str], asked: set[str]) -> Chunk:
    positive = replaced.get(chunk.id, chunk.passage)
    if positive != chunk.passage:
        return replace(chunk, title="", text=positive)
    if asked and any(_folded(part) in asked for part in chunk.title.split(" > ")):
        return replace(chunk, title="")
    return chunk


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _check(name: str, chunks: Sequence[Chunk], pairs: Sequence[Pair], unit: Unit) -> None:
    if not pairs:
        raise DataError(f"The {name} benchmark has no questions: the test split holds no pair.")
    units = {chunk.document_id if unit == "document" else chunk.id for chunk in chunks}
    if len(units) < 2:
        raise DataError(
            f"The corpus of the {name} benchmark holds {len(units)} {unit}: retrieval needs two or more to "
            "choose from, so add documents."
        )
    names = [(pair, pair.document_id if unit == "document" else pair.chunk_id) for pair in pairs]
    missing = [(pair, judged_unit) for pair, judged_unit in names if judged_unit not in units]
    if missing:
        pair, judged_unit = missing[0]
        raise DataError(
            f"{len(missing)} {name} pairs judge a {unit} that the corpus does not hold, the first of them "
            f"{judged_unit!r} for the question {pair.query[:80]!r}: put it into the corpus or drop its pairs."
        )
