"""Repeated trainings of one experiment: the spread over seeds, and the learning curve over the pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.comparison import Comparison, compare


@dataclass(frozen=True, slots=True)
class Repeat:
    """A training on the run's own splits, scored on the run's own test questions.

    Attributes:
        seed: The training seed.
        share: The share of the training pairs that were used.
        pairs: How many pairs that is.
        dev: The selected weights' score on dev; None where dev was not scored.
        score: The score on the test questions.
        comparison: The model minus the untuned one.
    """

    seed: int
    share: float
    pairs: int
    dev: float | None
    score: float
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Seeds:
    """The run's training and its repeats with further seeds.

    ``comparison`` is each question's mean over the seeds minus the untuned model. ``std`` is the sample
    standard deviation of the seeds' scores (n − 1 in the divisor).
    """

    metric: str
    mean: float
    std: float
    min: float
    max: float
    comparison: Comparison
    runs: tuple[Repeat, ...]


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Trainings on shares of the pairs, the smallest first and all pairs last.

    ``last`` compares all pairs with the largest share: whether the curve still rises at its end.
    """

    metric: str
    points: tuple[Repeat, ...]
    last: Comparison


@dataclass(frozen=True)
class ScoredTraining:
    """What is known of a training before it is compared: as ``Repeat``, with the scores per question."""

    seed: int
    share: float
    pairs: int
    dev: float | None
    scores: Scores


@dataclass(frozen=True)
class Repeats:
    """The summaries of repeated trainings; ``scores`` has one system for each further training."""

    seeds: Seeds | None = None
    curve: LearningCurve | None = None
    scores: Sequence[Scores] = ()


def summarise_repeats(
    trainings: Sequence[ScoredTraining],
    untuned: Scores,
    *,
    metric: str,
    clusters: Mapping[str, str],
    seed: int,
) -> Repeats:
    """Compare each training with the untuned model, and sum up the seeds and the learning curve.

    Args:
        trainings: The run's own training, then the further seeds, then the shares in rising order.
        untuned: The untuned model's scores.
        metric: The metric to compare.
        clusters: Query id -> source document.
        seed: Seeds the bootstrap.
    """
    repeats = [
        Repeat(
            seed=each.seed,
            share=each.share,
            pairs=each.pairs,
            dev=each.dev,
            score=each.scores.mean[metric],
            comparison=compare(untuned, each.scores, metric=metric, clusters=clusters, seed=seed),
        )
        for each in trainings
    ]
    whole = [at for at, each in enumerate(trainings) if each.share == 1]
    parts = [at for at, each in enumerate(trainings) if each.share < 1]
    seeds = curve = None
    if len(whole) > 1:
        runs, scores = [repeats[at] for at in whole], [trainings[at].scores for at in whole]
        seeds = _summarise_seeds(runs, untuned, scores, metric=metric, clusters=clusters, seed=seed)
    if parts:
        part, own = trainings[parts[-1]].scores, trainings[0].scores
        curve = LearningCurve(
            metric=metric,
            points=tuple(repeats[at] for at in (*parts, 0)),
            last=compare(part, own, metric=metric, clusters=clusters, seed=seed),
        )
    return Repeats(seeds, curve, [each.scores for each in trainings[1:]])


def _summarise_seeds(
    runs: Sequence[Repeat],
    untuned: Scores,
    scores: Sequence[Scores],
    *,
    metric: str,
    clusters: Mapping[str, str],
    seed: int,
) -> Seeds:
    """Sum up one recipe over several seeds.

    The interval of the comparison reflects the choice of questions; ``std`` reflects the choice of seeds.

    Args:
        runs: The trainings, the run's own first.
        untuned: The untuned model's scores.
        scores: The trainings' scores, in the same order.
        metric: The metric to compare.
        clusters: Query id -> source document.
        seed: Seeds the bootstrap.
    """
    values = [run.score for run in runs]
    mean = math.fsum(values) / len(values)
    spread = math.fsum((value - mean) ** 2 for value in values)
    average = _mean_scores(scores, metric=metric)
    return Seeds(
        metric=metric,
        mean=mean,
        std=math.sqrt(spread / max(len(values) - 1, 1)),
        min=min(values),
        max=max(values),
        comparison=compare(untuned, average, metric=metric, clusters=clusters, seed=seed),
        runs=tuple(runs),
    )


def _mean_scores(scores: Sequence[Scores], *, metric: str) -> Scores:
    """Return a system whose value for each question is the mean over ``scores``."""
    per_query = {
        query: {metric: math.fsum(each.per_query[query][metric] for each in scores) / len(scores)}
        for query in scores[0].per_query
    }
    mean = math.fsum(each.mean[metric] for each in scores) / len(scores)
    return Scores(f"mean of {len(scores)}", {metric: mean}, per_query)
