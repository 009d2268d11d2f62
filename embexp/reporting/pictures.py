"""The map of questions and passages as numbers for two pictures: before training, and after."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embexp.benchmarking.embedding_map import EmbeddingMap
from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.repeats import Seeds
from embexp.benchmarking.slices import Slice
from embexp.benchmarking.statistics.comparison import clustered_interval
from embexp.benchmarking.task import Query
from embexp.finetuning.training import TrainingStep
from embexp.reporting import figures
from embexp.reporting import pictures as scatter
from embexp.reporting.outcome import Outcome
from embexp.reporting.tables import shown_metrics

WIDTH, HEIGHT, MARGIN = 440.0, 330.0, 8.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of the picture: ``kind`` is question or passage; ``linked`` ones stand out."""

    x: float
    y: float
    kind: str
    text: str
    linked: bool


@dataclass(frozen=True, slots=True)
class Link:
    """A line from a question to its answer; ``delta`` is how the question's score changed."""

    x1: float
    y1: float
    x2: float
    y2: float
    delta: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One model's picture; ``variance`` is the share of its variance that the plane shows."""

    name: str
    marks: Sequence[Mark]
    links: Sequence[Link]
    variance: float
    answer: float
    other: float


def maps(found: EmbeddingMap) -> tuple[Panel, Panel]:
    """Return both pictures, on one scale, so that distances can be compared between them."""
    points = [spot.before for spot in found.spots] + [spot.after for spot in found.spots]
    xs, ys = zip(*points, strict=True)
    spread = max(
        (max(xs) - min(xs)) / (WIDTH - 2 * MARGIN), (max(ys) - min(ys)) / (HEIGHT - 2 * MARGIN), 1e-9
    )
    middle = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = WIDTH / 2 + (point[0] - middle[0]) / spread
        y = HEIGHT / 2 - (point[1] - middle[1]) / spread
        return round(x, 1), round(y, 1)

    first = _panel("untuned", 0, found, [place(spot.before) for spot in found.spots])
    second = _panel("tuned", 1, found, [place(spot.after) for spot in found.spots])
    return first, second


def _panel(name: str, at: int, found: EmbeddingMap, places: Sequence[tuple[float, float]]) -> Panel:
    linked = {end for question, answer, _ in found.links for end in (question, answer)}
    marks = [
        Mark(*place, kind=spot.kind, text=spot.text, linked=number in linked)
        for number, (spot, place) in enumerate(zip(found.spots, places, strict=True))
    ]
    return Panel(
        name=name,
        # What comes last is drawn on top: passages below questions, and linked ones above all.
        marks=sorted(marks, key=lambda mark: (mark.linked, mark.kind == "question")),
        links=[Link(*places[question], *places[answer], delta) for question, answer, delta in found.links],
        variance=found.variance[at],
        answer=found.answer[at],
        other=found.other[at],
    )


def draw_all(
    outcome: Outcome,
    scores: Mapping[str, Scores],
    queries: Sequence[Query],
    slices: Sequence[Slice],
    drawn: EmbeddingMap | None,
) -> dict[str, Any]:
    """Return every figure of the report by its name in the templates; None where there is nothing to draw."""
    comparison = outcome.comparison
    metric = comparison.metric if comparison else next(iter(shown_metrics(outcome)), "")
    history = outcome.training.history if outcome.training else ()
    best_step = outcome.training.best_step if outcome.training else None
    dev = _series(history, metric)
    changes = _changes(scores, metric)
    return {
        "metric": metric,
        "systems": _systems(scores, queries, metric),
        "difference": figures.interval_axis(comparison.delta, comparison.interval) if comparison else None,
        "deltas": figures.deltas(changes) if changes else None,
        "groups": figures.groups(changes) if changes else (),
        "loss_curve": figures.curve(_points(history, _series(history, "loss"))),
        "dev_curve": figures.curve(_points(history, dev), best_step=best_step),
        "dev_name": dev or metric,
        "slice_dots": _slices(slices) if slices else None,
        "seed_dots": _seeds(outcome.seeds) if outcome.seeds else None,
        "learning": _learning(outcome, metric) if outcome.learning_curve else None,
        "maps": scatter.maps(drawn) if drawn else None,
    }


def _slices(slices: Sequence[Slice]) -> figures.Dots:
    return figures.changes([(each.name, each.delta, each.interval) for each in slices])


def _seeds(seeds: Seeds) -> figures.Dots:
    rows = [(f"seed {run.seed}", run.comparison.delta, run.comparison.interval) for run in seeds.runs]
    return figures.changes([*rows, ("mean", seeds.comparison.delta, seeds.comparison.interval)])


def _learning(outcome: Outcome, metric: str) -> figures.Curve | None:
    """Draw the score over training pairs, from the untuned model, which has seen none."""
    curve = outcome.learning_curve
    points = [(point.pairs, point.score) for point in curve.points] if curve else []
    untuned = outcome.scores.get("untuned", {}).get(metric)
    return figures.curve([(0, untuned), *points] if untuned is not None else points)


def _systems(scores: Mapping[str, Scores], queries: Sequence[Query], metric: str) -> figures.Dots | None:
    clusters = {query.id: query.cluster for query in queries}
    means, intervals = {}, {}
    for system, found in scores.items():
        values = {query: own[metric] for query, own in found.per_query.items() if metric in own}
        if values:
            means[system] = found.mean[metric]
            intervals[system] = clustered_interval(values, clusters)
    return figures.dots(means, intervals) if means else None


def _changes(scores: Mapping[str, Scores], metric: str) -> list[float]:
    if not {"untuned", "tuned"} <= scores.keys():
        return []
    before, after = (scores[system].per_query for system in ("untuned", "tuned"))
    return [after[query][metric] - before[query][metric] for query in after if query in before]


def _series(history: Sequence[TrainingStep], name: str) -> str:
    """Return the training log's own name for a metric (``ndcg@10``, ``dev_ndcg@10``, ``dev/ndcg@10`` …)."""
    logged = dict.fromkeys(key for step in history for key in step.metrics)
    return next((key for key in logged if re.fullmatch(rf"(.*[/_. ])?{re.escape(name)}", key)), "")


def _points(history: Sequence[TrainingStep], name: str) -> list[tuple[int, float]]:
    return [(step.step, step.metrics[name]) for step in history if name in step.metrics]
