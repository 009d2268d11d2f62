"""Rows that carry what a teacher says: its scores of a query's passages, or its vectors."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from embexp.data.records import Pair
from embexp.errors import ConfigError, DataError
from embexp.finetuning.batch_sampler import Keys
from embexp.finetuning.teachers import NO_TEACHER, Labels, Teacher, VectorTeacher
from embexp.finetuning.training_rows import Column, Request, Rows, needed_negatives, positives_of, sample

log = logging.getLogger(__name__)


Candidates = tuple[str, tuple[str, ...]]
"""A query and its passages, the best first."""


def ranked_rows(request: Request) -> Rows:
    """Return (anchor, positive, negative_1 …, scores) rows, with a score for each passage.

    Raises:
        ConfigError: The loss has no teacher, or the labels of no query can stand in for one.
        DataError: The teacher gave a score that is not a number.
    """
    teacher = _teacher(request)
    if isinstance(teacher, Labels):
        found, scores = _from_labels(request, teacher)
    else:
        found = _candidates(request)
        scores = _asked(teacher, found)
    columns: dict[str, Column] = {"anchor": [query for query, _ in found]}
    for rank in range(len(found[0][1])):
        columns[f"negative_{rank}" if rank else "positive"] = [passages[rank] for _, passages in found]
    columns["scores"] = scores
    return Rows(columns=columns, keys=[Keys()] * len(found))


def vector_rows(request: Request) -> Rows:
    """Return (anchor, positive, label) rows, where a label is the teacher's vectors of both texts.

    Raises:
        ConfigError: The teacher gives no vectors.
    """
    import numpy as np

    teacher = _teacher(request)
    if not isinstance(teacher, VectorTeacher):
        raise ConfigError(
            f"This loss learns a teacher's vectors, and {type(teacher).__name__} gives scores alone: set "
            "teacher@loss.teacher=bi_encoder, or choose loss=margin_mse, which learns scores."
        )
    pairs = list({(pair.query, pair.positive): pair for pair in request.pairs}.values())
    pairs = sample(pairs, request.max_pairs, seed=request.seed, what="pairs")
    queries, passages = [pair.query for pair in pairs], [pair.positive for pair in pairs]
    vectors = np.stack([teacher.encode_queries(queries), teacher.encode_passages(passages)], axis=1)
    columns: dict[str, Column] = {
        "anchor": queries,
        "positive": passages,
        "label": [list(both) for both in vectors],
    }
    return Rows(columns=columns, keys=[Keys()] * len(pairs), outputs=vectors.shape[2])


def _teacher(request: Request) -> Teacher:
    if request.teacher is None:
        raise ConfigError(NO_TEACHER)
    return request.teacher


def _candidates(request: Request) -> list[Candidates]:
    """Return each positive with the same number of negatives: those that all pairs bring, or found ones."""
    positives = positives_of(request)
    negatives = needed_negatives(request, positives)
    count = min(map(len, negatives))
    return [
        (pair.query, (pair.positive, *texts[:count]))
        for pair, texts in zip(positives, negatives, strict=True)
    ]


def _asked(teacher: Teacher, found: Sequence[Candidates]) -> list[list[float]]:
    import numpy as np

    asked = [(query, passage) for query, passages in found for passage in passages]
    scores = np.asarray(teacher.scores(asked), dtype=np.float32)
    if (broken := np.flatnonzero(~np.isfinite(scores))).size:
        query, passage = asked[broken[0]]
        raise DataError(
            f"The teacher scores {query[:60]!r} with {passage[:60]!r} as {scores[broken[0]]}: its weights "
            "are broken; choose another teacher."
        )
    listed: list[list[float]] = scores.reshape(len(found), -1).tolist()
    return listed


def _from_labels(request: Request, teacher: Labels) -> tuple[list[Candidates], list[list[float]]]:
    """Return rows of a query's judged passages, best first, and their labels as scores."""
    count = max(request.count or 1, 1)
    rows, scores = [], []
    for judged in _by_query(request.pairs):
        best, *others = sorted(judged, key=lambda pair: -request.scale.score(pair.label))
        random.Random(f"{request.seed}:{best.query}").shuffle(others)
        for start in range(0, len(others) - count + 1, count):
            passages = [best, *others[start : start + count]]
            rows.append((best.query, tuple(pair.positive for pair in passages)))
            scores.append([teacher.scale * request.scale.score(pair.label) for pair in passages])
    if not any(len(set(row)) > 1 for row in scores):
        raise ConfigError(
            f"loss.teacher takes its scores from the labels of the {len(request.pairs)} training pairs, and "
            f"no query has {count + 1} passages with different labels: give such pairs, lower "
            "trainer.hard_negatives, or name a model (teacher@loss.teacher=cross_encoder)."
        )
    chosen = sample(range(len(rows)), request.max_pairs, seed=request.seed, what="queries with passages")
    return [rows[at] for at in chosen], [scores[at] for at in chosen]


def _by_query(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Return the judgments of each query, every passage once."""
    groups: dict[str, dict[str, Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.query, {}).setdefault(pair.positive, pair)
    return [list(group.values()) for group in groups.values()]
