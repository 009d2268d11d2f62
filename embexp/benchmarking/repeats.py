"""Several trainings of one experiment: what they say together about luck, and about more pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.comparison import Comparison, compare
from embexp.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Repeat:
    """One more training on the run's own splits, scored on the run's own test questions.

    ``share`` is the part of the training pairs that it saw, ``dev`` its best score on dev (None without
    one), ``score`` its score on the test questions, and ``comparison`` sets it against the untuned model.
    """

    seed: int
    share: float
    pairs: int
    dev: float | None
    score: float
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Seeds:
    """The run's training and its repeats under further seeds.

    ``comparison`` sets each question's mean over the seeds against the untuned model. ``std`` is the
    standard deviation of the seeds' scores, with one less than their number in the divisor.
    """

    metric: str
    runs: Sequence[Repeat]
    mean: float
    std: float
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Trainings on a part of the pairs, the smallest first and all pairs last.

    ``last`` sets all pairs against the largest part: whether the curve still rises at its end.
    """

    metric: str
    points: Sequence[Repeat]
    last: Comparison


MOST_SEEDS = 100
OPTIONS = ("seeds", "learning_curve")


def check_repeats(seeds: int, learning_curve: Sequence[float]) -> None:
    """Refuse numbers of seeds and parts of the pairs that make no sense.

    Raises:
        ConfigError: There is no seed or a great many, or a part is not between 0 and 1, or stands twice.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise ConfigError(
            f"benchmark.seeds={seeds}: give a whole number from 1 (no repeats) to {MOST_SEEDS}; 3 is usual."
        )
    shares = list(learning_curve)
    if not all(0 < share < 1 for share in shares) or len(set(shares)) < len(shares):
        raise ConfigError(
            f"benchmark.learning_curve={shares}: give different parts between 0 and 1, as in [0.25,0.5]; "
            "all pairs and no pairs are measured anyway."
        )


def scoring_settings(settings: Mapping[str, object]) -> dict[str, object]:
    """Return a benchmark's settings without those that only ask for further trainings."""
    return {name: value for name, value in settings.items() if name not in OPTIONS}


def mean_scores(scores: Sequence[Scores], *, metric: str) -> Scores:
    """Return a system whose value for each question is the mean over ``scores``."""
    first = scores[0]
    per_query = {
        query: {metric: math.fsum(each.per_query[query][metric] for each in scores) / len(scores)}
        for query in first.per_query
    }
    mean = math.fsum(each.mean[metric] for each in scores) / len(scores)
    return Scores(f"mean of {len(scores)}", {metric: mean}, per_query)


def over_seeds(
    runs: Sequence[Repeat],
    untuned: Scores,
    scores: Sequence[Scores],
    *,
    metric: str,
    clusters: Mapping[str, str],
    seed: int,
) -> Seeds:
    """Sum up one recipe under several seeds.

    The comparison with the untuned model takes each question's mean over the seeds, and its interval
    covers the choice of questions; ``std`` covers the choice of seeds.

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
    average = mean_scores(scores, metric=metric)
    return Seeds(
        metric=metric,
        runs=runs,
        mean=mean,
        std=math.sqrt(spread / max(len(values) - 1, 1)),
        comparison=compare(untuned, average, metric=metric, clusters=clusters, seed=seed),
    )


def over_shares(
    points: Sequence[Repeat],
    part: Scores,
    whole: Scores,
    *,
    metric: str,
    clusters: Mapping[str, str],
    seed: int,
) -> LearningCurve:
    """Return the learning curve, with a test of its last step.

    Args:
        points: The trainings, by how many pairs they saw; all pairs last.
        part: The scores of the training on the largest part.
        whole: The scores of the training on all pairs.
        metric: The metric to compare.
        clusters: Query id -> source document.
        seed: Seeds the bootstrap.
    """
    last = compare(part, whole, metric=metric, clusters=clusters, seed=seed)
    return LearningCurve(metric=metric, points=points, last=last)
