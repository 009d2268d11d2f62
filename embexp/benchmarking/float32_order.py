"""The order that float32 gives, from vectors of which most are in mixed precision.

Mixed precision changes a score by some ten-thousandths, which changes a metric only where a relevant unit
and another one score nearly the same. The margin of "nearly" is measured: a few questions and passages are
encoded both ways. The questions and passages of such near ties are then encoded in float32, commonly some
percent of the texts; all are, where it is more than half of them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.benchmarking.metrics import MAX_CUTOFF, retrieve
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.models.encoder import SourceEmbedder
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.index import Hit

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors

log = logging.getLogger(__name__)

CUTOFF = 10
"""Near ties below this rank are left as they are, unless a metric looks deeper."""
DEVIATIONS = 2.0
"""A wider gap than this many standard deviations of its change is taken to keep its sign: 98% of those that
change it are narrower, if changes are normal."""
SAMPLE = 12
"""Questions from whose gaps the deviation is measured first; that of near ties follows."""
LEAST_MARGIN = 1e-5
"""Scores are rounded to six places."""
MEASURED = 48
"""Near ties whose change is measured; of more, every second, third, ..."""
MOST = 0.5
"""The share of passages from which all texts are encoded in float32."""

Gap = tuple[str, str, str]
"""The texts of a question and of two passages."""


def order_as_float32(
    task: RetrievalTask, embedder: SourceEmbedder, folder: Path, *, cutoff: int = CUTOFF
) -> int:
    """Have an embedder encode in float32 what decides the order of relevant units near the top.

    Args:
        task: The task.
        embedder: The model; from now on it gives the vectors that decide in float32.
        folder: Where an index may keep files.
        cutoff: The last rank that counts.

    Returns:
        How many questions and passages are encoded in float32; 0 where none are in mixed precision.
    """
    if not embedder.mixed:
        return 0
    index = ExactRetriever().index(task.corpus, embedder, path=folder)
    hits = retrieve(_by_chunk(task), index, k=max(MAX_CUTOFF, cutoff))
    margin = _margin(_sample(task, hits), embedder)
    gaps = list(_near_ties(task, hits, margin=margin, cutoff=cutoff))
    measured = gaps[:: len(gaps) // MEASURED + 1]
    if len(measured) >= SAMPLE:
        margin = _margin(measured, embedder)
        gaps = list(_near_ties(task, hits, margin=margin, cutoff=cutoff))
    log.debug("%d near ties within %.2g", len(gaps), margin)
    passages = {text for _, *pair in gaps for text in pair}
    if len(passages) > MOST * len({chunk.passage for chunk in task.corpus}):
        every = (chunk.passage for chunk in task.corpus)
        return _require(embedder, (query.text for query in task.queries), every)
    return _require(embedder, (query for query, *_ in gaps), passages)


def _by_chunk(task: RetrievalTask) -> RetrievalTask:
    return replace(task, unit="chunk", own={}, copies={})


def _require(embedder: SourceEmbedder, queries: Iterable[str], passages: Iterable[str]) -> int:
    asked, read = set(queries), set(passages)
    embedder.require_float32("query", asked)
    embedder.require_float32("passage", read)
    return len(asked) + len(read)


def _sample(task: RetrievalTask, hits: Mapping[str, Sequence[Hit]]) -> list[Gap]:
    """Return the gaps between the first two hits of some questions."""
    passages = {chunk.id: chunk.passage for chunk in task.corpus}
    step = max(len(task.queries) // SAMPLE, 1)
    sample: list[Gap] = []
    for query in task.queries[::step]:
        names = [hit.id for hit in hits[query.id][:2]]
        if len(names) == 2:
            sample.append((query.text, passages[names[0]], passages[names[1]]))
    return sample


def _margin(gaps: Sequence[Gap], embedder: SourceEmbedder) -> float:
    return max(DEVIATIONS * _deviation(gaps, embedder), LEAST_MARGIN) if gaps else LEAST_MARGIN


def _deviation(gaps: Sequence[Gap], embedder: SourceEmbedder) -> float:
    """Return the root mean square of how much float32 changes these gaps."""
    import numpy as np

    queries, first, second = (list(texts) for texts in zip(*gaps, strict=True))

    def scores(*, bf16: bool) -> Vectors:
        ahead, behind = (embedder.in_precision("passage", texts, bf16=bf16) for texts in (first, second))
        asked = embedder.in_precision("query", queries, bf16=bf16)
        products: Vectors = np.einsum("ij,ij->i", asked, ahead - behind)
        return products

    return float(np.sqrt(np.mean((scores(bf16=False) - scores(bf16=True)) ** 2)))


def _near_ties(
    task: RetrievalTask, hits: Mapping[str, Sequence[Hit]], *, margin: float, cutoff: int
) -> Iterator[Gap]:
    """Yield the gaps below ``margin`` between two passages whose units differ in relevance."""
    chunks = {chunk.id: chunk for chunk in task.corpus}
    for query in task.queries:
        found = ((chunks[hit.id], hit.score) for hit in hits[query.id])
        ranked = _ranked_units(task, query, found, margin=margin, cutoff=cutoff)
        for rank, (unit, score, passages) in enumerate(ranked[:cutoff]):
            for other, lower, others in ranked[rank + 1 :]:
                if score - lower >= margin:
                    break
                if _grade(task, query, unit) != _grade(task, query, other):
                    yield from ((query.text, one, two) for one in passages for two in others if one != two)


def _ranked_units(
    task: RetrievalTask, query: Query, hits: Iterable[tuple[Chunk, float]], *, margin: float, cutoff: int
) -> list[tuple[str, float, list[str]]]:
    """Return a question's units, best first, with their score and the passages that may give it.

    Those that cannot come among the first ``cutoff`` are left out.
    """
    own = task.own.get(query.id, frozenset())
    units: dict[str, tuple[float, list[str]]] = {}
    lowest = -math.inf
    for chunk, score in hits:
        if score <= lowest:
            break
        unit = task.unit_of(chunk)
        if unit in own:
            continue
        best, passages = units.setdefault(unit, (score, []))
        if best - score < margin:
            passages.append(chunk.passage)
        if len(units) == cutoff and lowest == -math.inf:
            lowest = score - margin
    return [(unit, score, passages) for unit, (score, passages) in units.items()]


def _grade(task: RetrievalTask, query: Query, unit: str) -> int | str:
    """Return a unit's grade; its name where grades are not known yet."""
    if task.judge_depth is not None and query.id not in task.qrels:
        return unit
    return max(task.qrels.get(query.id, {}).get(unit, 0), 0)
