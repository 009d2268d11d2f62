"""Forgetting: how tuning changes the scores on a general retrieval set."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embexp.benchmarking.benchmark import Benchmark
from embexp.benchmarking.metrics import cutoff_of, with_defaults
from embexp.benchmarking.statistics.comparison import Comparison, compare
from embexp.benchmarking.systems import TUNED, UNTUNED, score_embedder
from embexp.benchmarking.task import Query, RetrievalTask, smaller_corpus
from embexp.data.records import Unit
from embexp.errors import DataError
from embexp.models.encoder import Embedder

GUARD_QUESTIONS, GUARD_DISTRACTORS = 100, 500
"""The guard is scored at each dev evaluation: enough to see a loss of some hundredths, quick to embed."""
MIN_DOCUMENTS = 4


@dataclass(frozen=True, slots=True)
class Forgetting:
    """The scores on a general set before and after tuning; ``comparison`` is tuned minus untuned."""

    task: str
    scores: Mapping[str, Mapping[str, float]]
    comparison: Comparison


@dataclass(frozen=True)
class GeneralSet:
    """A general set in two parts without a shared judged document.

    ``guard`` is scored during training and limits which weights may be selected; ``final`` is scored once,
    at the end.
    """

    guard: RetrievalTask
    final: RetrievalTask


def general_set(benchmark: Benchmark, *, unit: Unit, seed: int) -> GeneralSet:
    """Read the set that ``benchmark@forgetting`` names, and split it by its judged documents.

    Raises:
        DataError: The set asks about too few documents.
    """
    task = benchmark.task((), (), unit=unit)
    clusters = sorted({query.cluster for query in task.queries})
    if len(clusters) < MIN_DOCUMENTS:
        raise DataError(
            f"The forgetting set {task.name} asks about {len(clusters)} documents: give one with questions "
            f"about {MIN_DOCUMENTS} or more; one half limits which weights are selected, the other is scored "
            "at the end."
        )
    random.Random(seed).shuffle(clusters)
    guarded = set(clusters[: len(clusters) // 2])
    guard = [query for query in task.queries if query.cluster in guarded]
    final = [query for query in task.queries if query.cluster not in guarded]
    guard = random.Random(seed).sample(guard, min(GUARD_QUESTIONS, len(guard)))
    smaller = _only(task, guard)
    judged = {unit for grades in smaller.qrels.values() for unit in grades}
    corpus = smaller_corpus(task.corpus, judged, distractors=GUARD_DISTRACTORS, seed=seed)
    return GeneralSet(guard=replace(smaller, corpus=corpus), final=_only(task, final))


def _only(task: RetrievalTask, queries: Sequence[Query]) -> RetrievalTask:
    return replace(task, queries=queries, qrels={query.id: task.qrels[query.id] for query in queries})


def measure_forgetting(
    task: RetrievalTask, untuned: Embedder, tuned: Embedder, *, metric: str, seed: int, folder: Path
) -> Forgetting:
    """Score both models on the final half of a general set and compare them.

    Args:
        task: ``GeneralSet.final``.
        untuned: The model before tuning.
        tuned: The model after tuning.
        metric: The metric to compare.
        seed: Seeds the bootstrap.
        folder: Where an index may keep files.
    """
    metrics, cutoff = with_defaults(metric), cutoff_of(metric)
    before, after = (
        score_embedder(task, model, system=name, folder=folder, metrics=metrics, cutoff=cutoff)
        for name, model in ((UNTUNED, untuned), (TUNED, tuned))
    )
    return Forgetting(
        task=task.name,
        scores={UNTUNED: before.mean, TUNED: after.mean},
        comparison=compare(before, after, metric=metric, clusters=task.clusters, seed=seed),
    )
