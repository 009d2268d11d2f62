"""The held-out split as a retrieval task over the whole corpus."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from embexp.benchmarking.benchmark import BenchmarkOptions
from embexp.benchmarking.repeated_texts import content_of, settle_repeated_texts
from embexp.benchmarking.task import Query, RetrievalTask, judged
from embexp.data.labels import LabelScale, label_scale
from embexp.data.records import CUT_OUT, Chunk, Pair, Unit
from embexp.errors import DataError
from embexp.ranges import Count

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class HeldOut(BenchmarkOptions):
    """Asks the held-out questions of the run's own corpus.

    ``BenchmarkOptions`` has the arguments that all benchmarks share.

    Args:
        name: The task's name.
        limit: The most questions to ask; None for all. The corpus stays whole.
        merge_duplicates: Whether copies of a document that answers a question are right as well.
    """

    name: str = "heldout"
    limit: Count | None = None
    merge_duplicates: bool = True

    def task(
        self,
        chunks: Sequence[Chunk],
        pairs: Sequence[Pair],
        *,
        unit: Unit,
        scale: LabelScale | None = None,
    ) -> RetrievalTask:
        """Return the held-out questions over the corpus, from which cut-out questions are removed.

        Args:
            chunks: The corpus.
            pairs: The held-out pairs.
            unit: Whether relevance is judged by document or by chunk.
            scale: How the labels of the data set are read; None reads it off these pairs.

        Returns:
            The task. Questions without a relevant passage are left out; the log gives their number. A
            document that is the question itself is no hit of it.

        Raises:
            DataError: There is no question, or the corpus has a single unit or lacks a judged one.
        """
        pairs = self._limited(pairs)
        _check(self.name, chunks, pairs, unit)
        scale = scale or label_scale(pairs)
        if any(pair.label is not None for pair in pairs):
            log.info("Labels of the %s questions: %s.", self.name, scale)
        qrels, first = judged(pairs, unit=unit, scale=scale)
        if not qrels:
            raise DataError(f"None of the {self.name} questions has a relevant passage: check the labels.")
        queries = [
            Query(id=name, text=pair.query, cluster=pair.document_id, query_type=pair.query_type)
            for name, pair in first.items()
        ]
        corpus = _without_cut_outs(chunks, pairs, copies=self.merge_duplicates)
        task = RetrievalTask(name=self.name, corpus=corpus, queries=queries, qrels=qrels, unit=unit)
        return settle_repeated_texts(task, merge=self.merge_duplicates, originals=chunks)

    def _limited(self, pairs: Sequence[Pair]) -> Sequence[Pair]:
        if self.limit is None:
            return pairs
        names = sorted(
            {pair.query_key for pair in pairs}, key=lambda name: hashlib.sha1(name.encode()).digest()
        )
        kept = set(names[: self.limit])
        return [pair for pair in pairs if pair.query_key in kept]


def _without_cut_outs(chunks: Sequence[Chunk], pairs: Iterable[Pair], *, copies: bool) -> list[Chunk]:
    """Return the corpus without the text of questions that were cut out of it.

    The chunk's passage becomes ``Pair.positive``, and with ``copies`` that of chunks with the same text, too.
    Chunks of the same document that repeat the question in their title lose that title. Chunk ids stay as
    they are, since judgments refer to them.
    """
    cut = {pair.chunk_id: pair for pair in reversed([*pairs]) if pair.chunk_id and pair.query_type in CUT_OUT}
    replaced = {name: pair.positive for name, pair in cut.items()}
    asked: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        if pair.chunk_id in cut and pair.query_type in CUT_OUT:
            asked[pair.document_id].add(_folded(pair.query))
    if copies and cut:
        alike = {content_of(chunk): chunk for chunk in chunks if chunk.id in cut}
        for chunk in chunks:
            if chunk.id not in cut and (original := alike.get(content_of(chunk))):
                replaced[chunk.id] = replaced[original.id]
                asked[chunk.document_id] |= asked.get(original.document_id, set())
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
        raise DataError(f"The {name} benchmark has no questions: the test split has no pairs.")
    units = {chunk.document_id if unit == "document" else chunk.id for chunk in chunks}
    if len(units) < 2:
        raise DataError(
            f"The corpus of the {name} benchmark has {len(units)} {unit}: retrieval needs two or more to "
            "choose from, so add documents."
        )
    names = [(pair, pair.document_id if unit == "document" else pair.chunk_id) for pair in pairs]
    missing = [(pair, judged_unit) for pair, judged_unit in names if judged_unit not in units]
    if missing:
        pair, judged_unit = missing[0]
        raise DataError(
            f"{len(missing)} {name} pairs judge a {unit} that is not in the corpus, the first of them "
            f"{judged_unit!r} for the question {pair.query[:80]!r}: add it to the corpus or remove its pairs."
        )
