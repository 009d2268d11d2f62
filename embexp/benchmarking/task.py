"""Retrieval tasks: a corpus, its questions and their relevance judgments; a task knows no scores."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embexp.data.records import Chunk, Pair, Unit

log = logging.getLogger(__name__)


Qrels = Mapping[str, Mapping[str, int]]
"""Relevance judgments: query id -> unit id -> grade (1 or more is relevant)."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question of a benchmark; ``cluster`` is the source document that the bootstrap resamples by."""

    id: str
    text: str
    cluster: str
    query_type: str = "human"


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """A corpus, its questions and their judgments; a task knows no scores.

    ``unit`` says what qrels judge: chunks, or the documents that the chunks belong to. With ``skip_own`` a
    unit with the question's own id is no hit of it. Where ``judge_depth`` is set there are no judgments yet:
    a language model is asked about each system's first ``judge_depth`` chunks.
    """

    name: str
    corpus: Sequence[Chunk]
    queries: Sequence[Query]
    qrels: Qrels
    unit: Unit
    skip_own: bool = False
    judge_depth: int | None = None


def query_of(pair: Pair) -> str:
    """Return the id that all judgments of the pair's question share."""
    return pair.query_id or pair.id


def judged(
    pairs: Sequence[Pair], *, unit: Unit, relevant_from: float
) -> tuple[dict[str, dict[str, int]], dict[str, Pair]]:
    """Return the judgments of each question that has a relevant unit, and its first relevant pair.

    A pair without a label is relevant (grade 1). Labels that are all whole numbers are grades and
    stay as they are. Other labels are similarities: grade 1 from ``relevant_from`` times the highest
    label up, else 0. Where chunks of one document are judged apart, the document takes the best grade.

    Args:
        pairs: The pairs of one task.
        unit: What is judged.
        relevant_from: The share of the highest label from which a similarity counts as relevant.

    Returns:
        Query id -> unit id -> grade, and query id -> pair, both in the order of the pairs.
    """
    labels = [pair.label for pair in pairs if pair.label is not None]
    graded = all(float(label).is_integer() for label in labels)
    bar = relevant_from * max(labels, default=1.0)
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    first: dict[str, Pair] = {}
    for pair in pairs:
        name = query_of(pair)
        unit_id = pair.document_id if unit == "document" else pair.chunk_id
        grade = _grade(pair.label, graded=graded, bar=bar)
        grades[name][unit_id] = max(grade, grades[name].get(unit_id, 0))
        if grade > 0:
            first.setdefault(name, pair)
    if left := len(grades) - len(first):
        log.warning("%s questions have no relevant %s and are left out.", f"{left:,}", unit)
    return {name: grades[name] for name in first}, first


def _grade(label: float | None, *, graded: bool, bar: float) -> int:
    if label is None:
        return 1
    return max(int(label), 0) if graded else int(label >= bar)
