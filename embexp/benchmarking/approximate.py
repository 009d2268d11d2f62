"""An approximate index against exact search: its recall, and the time that it saves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from embexp.errors import DataError
from embexp.retrieval.index import Hit, Index

TIE = 1e-5
"""Scores this close are equal: indexes compute cosines in 32 bits and sum them in different orders."""
BATCH = 256


@dataclass(frozen=True, slots=True)
class IndexReport:
    """An approximate index compared with exact search over the same vectors; times are in seconds.

    ``query_seconds`` and ``exact_query_seconds`` are for all questions together.
    """

    retriever: str
    recall: float
    k: int
    build_seconds: float
    query_seconds: float
    exact_query_seconds: float


def compare_with_exact(
    approximate: Index,
    exact: Index,
    queries: Sequence[str],
    *,
    k: int = 10,
    retriever: str = "",
    build_seconds: float = 0.0,
) -> IndexReport:
    """Search both indexes with the same questions and report the recall of the approximate one.

    A hit counts if exact search returns it, or if it scores as high as exact search's k-th hit, which is
    as good a result. Seconds are wall time for all questions together, embedding included.

    Args:
        approximate: The approximate index.
        exact: Exact search over the same chunks and vectors.
        queries: The questions.
        k: How many hits to compare.
        retriever: The approximate index's name; its class name if empty.
        build_seconds: How long it took to build.

    Returns:
        The report, with the mean recall@k over questions.

    Raises:
        DataError: There is no question.
    """
    if not queries:
        raise DataError("No question to compare the approximate index with exact search on: give it some.")
    expected, exact_seconds = _timed(exact, queries, k)
    results, seconds = _timed(approximate, queries, k)
    recalls = [_recall(hits, best) for hits, best in zip(results, expected, strict=True)]
    return IndexReport(
        retriever=retriever or type(approximate).__name__,
        recall=sum(recalls) / len(recalls),
        k=k,
        build_seconds=build_seconds,
        query_seconds=seconds,
        exact_query_seconds=exact_seconds,
    )


def _timed(index: Index, queries: Sequence[str], k: int) -> tuple[list[list[Hit]], float]:
    start = time.perf_counter()
    hits: list[list[Hit]] = []
    for at in range(0, len(queries), BATCH):
        hits += index.search(queries[at : at + BATCH], k=k)
    return hits, time.perf_counter() - start


def _recall(hits: Sequence[Hit], expected: Sequence[Hit]) -> float:
    if not expected:
        return 1.0
    ids = {hit.id for hit in expected}
    lowest = min(hit.score for hit in expected)
    good = {hit.id for hit in hits if hit.id in ids or hit.score >= lowest - TIE}
    return min(len(good), len(expected)) / len(expected)
