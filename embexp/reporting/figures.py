"""The report's figures as numbers: the templates draw them as SVG, in the page's own colours."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embexp.benchmarking.embedding_map import EmbeddingMap
from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.retriever_choice import ServedRetriever
from embexp.benchmarking.slices import Slice
from embexp.benchmarking.statistics.comparison import clustered_interval
from embexp.benchmarking.thresholds import ScoreThreshold
from embexp.finetuning.training import TrainingStep
from embexp.reporting.outcome import Outcome
from embexp.reporting.tables import shown_metrics

WIDTH, HEIGHT = 440.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 12.0, 30.0
MAP_HEIGHT, MAP_MARGIN = 330.0, 8.0
MAX_STEPS = 400
MAX_DOTS = 40

_Rows = Sequence[tuple[str, float, tuple[float, float] | None]]
"""Name, value and interval (None for a value without one) of each row of a dot plot."""


@dataclass(frozen=True, slots=True)
class _Tick:
    """A mark on an axis: its position (in the figure's units or in percent) and its label."""

    at: float
    label: str
    zero: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    """One value and its interval; ``at``, ``left`` and ``width`` are percentages of the axis."""

    system: str
    value: float
    low: float
    high: float
    at: float
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Dots:
    """A dot plot: rows on a common axis."""

    rows: Sequence[_Row]
    ticks: Sequence[_Tick]


@dataclass(frozen=True, slots=True)
class Deltas:
    """Per-question differences, sorted from the biggest win to the biggest loss, as two filled outlines."""

    wins: str
    losses: str
    zero: float
    y_ticks: Sequence[_Tick]


@dataclass(frozen=True, slots=True)
class Group:
    """Questions that changed in the same direction: their number, share and mean change."""

    name: str
    count: int
    share: float
    mean: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A line over training steps, pairs or weights of BM25; ``best`` is the point of what was selected.

    ``summary`` says the same in words, for readers who do not see it.
    """

    line: str
    dots: Sequence[tuple[float, float]]
    best: tuple[float, float] | None
    x_ticks: Sequence[_Tick]
    y_ticks: Sequence[_Tick]
    summary: str


@dataclass(frozen=True, slots=True)
class ThresholdFigure:
    """Rates by score threshold: a line for each, the recommended threshold, and its interval as a band."""

    curves: Mapping[str, Curve]
    at: float
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class _Mark:
    """A point of the map: ``kind`` is question or passage; ``linked`` ones stand out."""

    x: float
    y: float
    kind: str
    text: str
    linked: bool


@dataclass(frozen=True, slots=True)
class _Link:
    """A line from a question to its answer; ``delta`` is the change of the question's score."""

    x1: float
    y1: float
    x2: float
    y2: float
    delta: float


@dataclass(frozen=True, slots=True)
class _Panel:
    """One model's half of the map; ``variance`` is the share of its variance that the plane shows."""

    name: str
    marks: Sequence[_Mark]
    links: Sequence[_Link]
    variance: float
    answer: float
    other: float

    @property
    def summary(self) -> str:
        """What the map shows, in words, for readers who do not see it."""
        kinds = Counter(mark.kind for mark in self.marks)
        return (
            f"Map of {kinds['question']} questions and {kinds['passage']} passages as the {self.name} model "
            f"places them. The mean cosine of a question to its answer is {self.answer:.2f}, to the nearest "
            f"other passage {self.other:.2f}."
        )


@dataclass(frozen=True, slots=True)
class MapLink:
    """A question of the map, its answer, and the change of its score."""

    question: str
    answer: str
    delta: float


def draw_all(
    outcome: Outcome,
    scores: Mapping[str, Scores],
    clusters: Mapping[str, str],
    slices: Sequence[Slice],
    map: EmbeddingMap | None,
) -> dict[str, Any]:
    """Return every figure of the report by its name in the templates, None where there is nothing to draw.

    Args:
        outcome: The result of the run.
        scores: System to scores.
        clusters: Query id to source document.
        slices: The comparison on each kind of question.
        map: Questions and passages as both models place them.
    """
    comparison, training, seeds = outcome.comparison, outcome.training, outcome.seeds
    metric = outcome.metric or next(iter(shown_metrics(outcome)), "")
    history = training.history if training else ()
    dev = _logged_name(history, metric)
    changes = _changes(scores, metric)
    return {
        "metric": metric,
        "systems": systems(scores, clusters, metric),
        "difference": interval_axis(comparison.delta, comparison.interval) if comparison else None,
        "deltas": deltas(changes) if changes else None,
        "groups": groups(changes) if changes else (),
        "loss_curve": curve(_points(history, _logged_name(history, "loss"))),
        "dev_curve": curve(_points(history, dev), best_step=training.best_step if training else None),
        "dev_name": dev or metric,
        "slice_dots": _difference_dots([(each.name, each.delta, each.interval) for each in slices]),
        "seed_dots": _difference_dots(
            [
                *((f"seed {run.seed}", run.comparison.delta, run.comparison.interval) for run in seeds.runs),
                ("mean", seeds.comparison.delta, seeds.comparison.interval),
            ]
            if seeds
            else []
        ),
        "learning": _learning_curve(outcome, metric),
        "retriever_curves": retriever_curves(outcome.retriever),
        "thresholds": thresholds(outcome.score_threshold),
        "maps": _maps(map) if map else None,
        "map_links": _map_links(map) if map else (),
    }


def systems(scores: Mapping[str, Scores], clusters: Mapping[str, str], metric: str) -> Dots | None:
    """Draw each system's mean with its 95% interval; None if no system has the metric."""
    means, intervals = {}, {}
    for system, each in scores.items():
        values = {query: own[metric] for query, own in each.per_query.items() if metric in own}
        if values:
            means[system] = each.mean[metric]
            intervals[system] = clustered_interval(values, clusters)
    return dots(means, intervals) if means else None


def _changes(scores: Mapping[str, Scores], metric: str) -> list[float]:
    if not {"untuned", "tuned"} <= scores.keys():
        return []
    before, after = (scores[system].per_query for system in ("untuned", "tuned"))
    return [after[query][metric] - before[query][metric] for query in after if query in before]


def _logged_name(history: Sequence[TrainingStep], name: str) -> str:
    """Return the training log's own name for a metric (``ndcg@10``, ``dev_ndcg@10``, ``dev/ndcg@10`` …)."""
    logged = dict.fromkeys(key for step in history for key in step.metrics)
    return next((key for key in logged if re.fullmatch(rf"(.*[/_. ])?{re.escape(name)}", key)), "")


def _points(history: Sequence[TrainingStep], name: str) -> list[tuple[int, float]]:
    return [(step.step, step.metrics[name]) for step in history if name in step.metrics]


def _learning_curve(outcome: Outcome, metric: str) -> Curve | None:
    """Draw the score over training pairs, from the untuned model, which has seen none."""
    if outcome.learning_curve is None:
        return None
    points = [(point.pairs, point.score) for point in outcome.learning_curve.points]
    untuned = outcome.scores.get("untuned", {}).get(metric)
    return curve([(0, untuned), *points] if untuned is not None else points)


def retriever_curves(retriever: ServedRetriever | None) -> dict[str, Curve]:
    """Draw each model's dev score by the weight of BM25, on one axis, with the chosen weight marked."""
    if retriever is None or not retriever.curve:
        return {}
    values = [score for scores in retriever.curve.values() for score in scores if math.isfinite(score)]
    lines = {
        model: curve(
            list(zip(retriever.weights, scores, strict=True)),
            best_step=retriever.weight if model == retriever.model else None,
            y_range=(min(values), max(values)),
        )
        for model, scores in retriever.curve.items()
        if values
    }
    return {model: line for model, line in lines.items() if line}


def thresholds(found: ScoreThreshold | None) -> ThresholdFigure | None:
    """Draw precision and the shares answered and refused by score threshold; None without a threshold."""
    if found is None or found.threshold is None or found.interval is None or len(found.curve) < 2:
        return None
    low, high = found.curve[0].threshold, found.curve[-1].threshold
    rates = {
        "precision": [(each.threshold, each.precision) for each in found.curve if each.precision is not None],
        "answered": [(each.threshold, each.answered) for each in found.curve],
        "refused": [(each.threshold, each.refused) for each in found.curve],
    }
    lines = {name: curve(points, y_range=(0.0, 1.0), x_range=(low, high)) for name, points in rates.items()}

    def place(threshold: float) -> float:
        share = min(max((threshold - low) / (high - low), 0.0), 1.0)
        return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)

    left, right = map(place, found.interval)
    return ThresholdFigure(
        curves={name: line for name, line in lines.items() if line},
        at=place(found.threshold),
        left=left,
        width=round(right - left, 1),
    )


def _value_ticks(low: float, high: float) -> list[float]:
    """Return about four ticks; a value that never changes lies in the middle of an axis of one tenth."""
    return _nice_ticks(low - 0.05, high + 0.05, 2) if high - low < 1e-6 else _nice_ticks(low, high, 4)


def _nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers (steps of 1, 2 or 5 times a power of ten) that enclose a range."""
    span = max(high - low, 1e-9)
    raw = span / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]


def _tick_label(value: float, ticks: Sequence[float]) -> str:
    """Return ``value`` with as many digits as the distance between the ticks needs."""
    step = ticks[1] - ticks[0]
    digits = next((count for count in range(6) if math.isclose(step, round(step, count), rel_tol=1e-6)), 6)
    return f"{value:,.{digits}f}".replace("-", "−")


def dots(means: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> Dots:
    """Draw each system's mean and interval on an axis that shows them all."""
    low = min(bounds[0] for bounds in intervals.values())
    high = max(bounds[1] for bounds in intervals.values())
    return _placed([(name, mean, intervals[name]) for name, mean in means.items()], _nice_ticks(low, high))


def _difference_dots(rows: _Rows) -> Dots | None:
    """Draw differences on an axis that always shows zero; None if there are none."""
    if not rows:
        return None
    bounds = [0.0, *(edge for _, value, interval in rows for edge in (interval or (value, value)))]
    return _placed(rows, _nice_ticks(min(bounds), max(bounds)))


def interval_axis(delta: float, interval: tuple[float, float]) -> Dots:
    """Draw the difference and its interval on an axis with zero in its middle."""
    reach = max(abs(bound) for bound in (*interval, delta, 0.01)) * 1.1
    return _placed([("difference", delta, interval)], _nice_ticks(-reach, reach, 4))


def _placed(rows: _Rows, ticks: Sequence[float]) -> Dots:
    start, span = ticks[0], ticks[-1] - ticks[0]

    def percent(value: float) -> float:
        return round(100 * (value - start) / span, 2)

    placed = []
    for name, value, interval in rows:
        low, high = interval or (value, value)
        width = round(100 * (high - low) / span, 2)
        placed.append(_Row(name, value, low, high, at=percent(value), left=percent(low), width=width))
    return Dots(placed, [_Tick(percent(tick), _tick_label(tick, ticks), zero=tick == 0) for tick in ticks])


def deltas(values: Sequence[float]) -> Deltas:
    """Draw per-question differences from the biggest win to the biggest loss."""
    ranked = sorted(values, reverse=True)
    steps = min(len(ranked), MAX_STEPS)
    sampled = [ranked[index * len(ranked) // steps] for index in range(steps)]
    limit = next((edge for edge in (0.1, 0.2, 0.5) if max(map(abs, ranked), default=0) <= edge), 1.0)

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (limit - value) / (2 * limit), 1)

    def outline(heights: Sequence[float]) -> str:
        width = (WIDTH - LEFT - RIGHT) / max(steps, 1)
        points = [(LEFT, y(0))]
        for index, height in enumerate(heights):
            points += [(LEFT + index * width, y(height)), (LEFT + (index + 1) * width, y(height))]
        points.append((WIDTH - RIGHT, y(0)))
        return " ".join(f"{x:.1f},{height:.1f}" for x, height in points)

    ticks = [-limit, -limit / 2, 0.0, limit / 2, limit]
    return Deltas(
        wins=outline([max(value, 0.0) for value in sampled]),
        losses=outline([min(value, 0.0) for value in sampled]),
        zero=y(0),
        y_ticks=[_Tick(y(tick), _tick_label(tick, ticks) if tick else "0") for tick in ticks],
    )


def groups(values: Sequence[float]) -> list[Group]:
    """Count the questions that got better, stayed the same and got worse."""
    sides = {
        "better": [value for value in values if value > 0],
        "same": [value for value in values if value == 0],
        "worse": [value for value in values if value < 0],
    }
    return [
        Group(name, len(side), len(side) / len(values), math.fsum(side) / max(len(side), 1))
        for name, side in sides.items()
    ]


def curve(
    points: Sequence[tuple[float, float]],
    *,
    best_step: float | None = None,
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
) -> Curve | None:
    """Draw a value over training steps, pairs or weights; None for fewer than two finite points.

    Args:
        points: The positions and the values.
        best_step: The position to mark.
        y_range: The values that the axis shows; None shows those of the points.
        x_range: The positions that the axis shows; None shows those from 0 to the last.
    """
    points = [(step, value) for step, value in points if math.isfinite(value)]
    if len(points) < 2:
        return None
    xs, ys = zip(*points, strict=True)
    left, right = x_range or (0, max(xs))
    x_ticks, y_ticks = _nice_ticks(left, right, 4), _value_ticks(*(y_range or (min(ys), max(ys))))

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (step - left) / (right - left or 1)
        y = TOP + (HEIGHT - TOP - BOTTOM) * (y_ticks[-1] - value) / (y_ticks[-1] - y_ticks[0])
        return round(x, 1), round(y, 1)

    placed = [place(step, value) for step, value in points]
    return Curve(
        line=" ".join(f"{x},{y}" for x, y in placed),
        dots=placed if len(placed) <= MAX_DOTS else (),
        best=next((spot for spot, step in zip(placed, xs, strict=True) if step == best_step), None),
        x_ticks=[
            _Tick(place(tick, y_ticks[0])[0], _tick_label(tick, x_ticks))
            for tick in x_ticks
            if left <= tick <= right
        ],
        y_ticks=[_Tick(place(0, tick)[1], _tick_label(tick, y_ticks)) for tick in y_ticks],
        summary=_in_words(points),
    )


def _in_words(points: Sequence[tuple[float, float]]) -> str:
    """Return a curve's ends and extremes as text."""
    (first, start), (last, end) = points[0], points[-1]
    low, high = (choose(points, key=lambda point: point[1]) for choose in (min, max))
    return (
        f"{start:.3f} at {first:g}, {end:.3f} at {last:g}; lowest {low[1]:.3f} at {low[0]:g}, "
        f"highest {high[1]:.3f} at {high[0]:g}."
    )


def _map_links(map: EmbeddingMap) -> list[MapLink]:
    """Return the connected questions, the biggest gain first."""
    links = [
        MapLink(map.spots[question].text, map.spots[answer].text, delta)
        for question, answer, delta in map.links
    ]
    return sorted(links, key=lambda link: -link.delta)


def _maps(map: EmbeddingMap) -> tuple[_Panel, _Panel]:
    """Draw both models' halves of the map on one scale, so that distances can be compared between them."""
    points = [spot.before for spot in map.spots] + [spot.after for spot in map.spots]
    xs, ys = zip(*points, strict=True)
    scale = max(
        (max(xs) - min(xs)) / (WIDTH - 2 * MAP_MARGIN),
        (max(ys) - min(ys)) / (MAP_HEIGHT - 2 * MAP_MARGIN),
        1e-9,
    )
    middle = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = WIDTH / 2 + (point[0] - middle[0]) / scale
        y = MAP_HEIGHT / 2 - (point[1] - middle[1]) / scale
        return round(x, 1), round(y, 1)

    before = _panel("untuned", 0, map, [place(spot.before) for spot in map.spots])
    after = _panel("tuned", 1, map, [place(spot.after) for spot in map.spots])
    return before, after


def _panel(name: str, at: int, map: EmbeddingMap, places: Sequence[tuple[float, float]]) -> _Panel:
    linked = {end for question, answer, _ in map.links for end in (question, answer)}
    marks = [
        _Mark(*place, kind=spot.kind, text=spot.text, linked=number in linked)
        for number, (spot, place) in enumerate(zip(map.spots, places, strict=True))
    ]
    return _Panel(
        name=name,
        # What comes last is drawn on top: passages below questions, and linked ones above all.
        marks=sorted(marks, key=lambda mark: (mark.linked, mark.kind == "question")),
        links=[_Link(*places[question], *places[answer], delta) for question, answer, delta in map.links],
        variance=map.variance[at],
        answer=map.answer[at],
        other=map.other[at],
    )
