"""The report's pictures as numbers: the templates draw them as SVG, in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 440.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 12.0, 30.0
MOST_STEPS = 400
MOST_DOTS = 40


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where it stands (in the picture's units or in percent) and what it says."""

    at: float
    label: str
    zero: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One system's mean and interval, as percentages of the axis."""

    system: str
    value: float
    low: float
    high: float
    at: float
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Dots:
    """Systems on a common axis."""

    rows: Sequence[Row]
    ticks: Sequence[Tick]


@dataclass(frozen=True, slots=True)
class Deltas:
    """Per-query differences, sorted from the biggest win to the biggest loss, as two filled outlines."""

    wins: str
    losses: str
    zero: float
    y_ticks: Sequence[Tick]


@dataclass(frozen=True, slots=True)
class Group:
    """Questions that changed alike: how many, their share, and their mean change."""

    name: str
    count: int
    share: float
    mean: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A line over training steps; ``best`` is the point of the weights that were kept."""

    line: str
    dots: Sequence[tuple[float, float]]
    best: tuple[float, float] | None
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers (steps of 1, 2 or 5 times a power of ten) that enclose a range."""
    span = max(high - low, 1e-9)
    raw = span / count
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 10) for index in range(first, max(last, first + 1) + 1)]


def tick_label(value: float, ticks: Sequence[float]) -> str:
    """Return ``value`` with as many digits as the distance between the ticks needs."""
    step = ticks[1] - ticks[0]
    digits = next((count for count in range(6) if math.isclose(step, round(step, count), rel_tol=1e-6)), 6)
    return f"{value:,.{digits}f}".replace("-", "−")


def dots(means: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> Dots:
    """Place each system's mean and interval on an axis that shows them all."""
    low = min(bounds[0] for bounds in intervals.values())
    high = max(bounds[1] for bounds in intervals.values())
    return _placed([(name, mean, intervals[name]) for name, mean in means.items()], nice_ticks(low, high))


def changes(rows: Sequence[tuple[str, float, tuple[float, float] | None]]) -> Dots:
    """Place differences, each with its interval where it has one, on an axis that always shows zero."""
    bounds = [0.0, *(edge for _, value, interval in rows for edge in (interval or (value, value)))]
    return _placed(rows, nice_ticks(min(bounds), max(bounds)))


def _placed(rows: Sequence[tuple[str, float, tuple[float, float] | None]], ticks: Sequence[float]) -> Dots:
    start, span = ticks[0], ticks[-1] - ticks[0]

    def percent(value: float) -> float:
        return round(100 * (value - start) / span, 2)

    placed = []
    for name, value, interval in rows:
        low, high = interval or (value, value)
        width = round(100 * (high - low) / span, 2)
        placed.append(Row(name, value, low, high, at=percent(value), left=percent(low), width=width))
    return Dots(placed, [Tick(percent(tick), tick_label(tick, ticks), zero=tick == 0) for tick in ticks])


def interval_axis(delta: float, interval: tuple[float, float]) -> Dots:
    """Place the difference and its interval on an axis that always shows zero, in its middle."""
    reach = max(abs(bound) for bound in (*interval, delta, 0.01)) * 1.1
    return _placed([("difference", delta, interval)], nice_ticks(-reach, reach, 4))


def deltas(values: Sequence[float]) -> Deltas:
    """Draw per-query differences from the biggest win to the biggest loss."""
    ranked = sorted(values, reverse=True)
    steps = min(len(ranked), MOST_STEPS)
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
        y_ticks=[Tick(y(tick), tick_label(tick, ticks) if tick else "0") for tick in ticks],
    )


def groups(values: Sequence[float]) -> list[Group]:
    """Count the questions that got better, stayed the same and got worse."""
    sides = {
        "better": [value for value in values if value > 0],
        "same": [value for value in values if value == 0],
        "worse": [value for value in values if value < 0],
    }
    return [
        Group(name, len(found), len(found) / len(values), math.fsum(found) / max(len(found), 1))
        for name, found in sides.items()
    ]


def curve(points: Sequence[tuple[int, float]], *, best_step: int | None = None) -> Curve | None:
    """Draw a value over training steps; None for fewer than two finite points."""
    points = [(step, value) for step, value in points if math.isfinite(value)]
    if len(points) < 2:
        return None
    xs, ys = zip(*points, strict=True)
    x_ticks, y_ticks = nice_ticks(0, max(xs), 4), nice_ticks(min(ys), max(ys), 4)
    right = max(xs)

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / max(right, 1)
        y = TOP + (HEIGHT - TOP - BOTTOM) * (y_ticks[-1] - value) / (y_ticks[-1] - y_ticks[0])
        return round(x, 1), round(y, 1)

    placed = [place(step, value) for step, value in points]
    return Curve(
        line=" ".join(f"{x},{y}" for x, y in placed),
        dots=placed if len(placed) <= MOST_DOTS else (),
        best=next((spot for spot, step in zip(placed, xs, strict=True) if step == best_step), None),
        x_ticks=[Tick(place(tick, y_ticks[0])[0], f"{tick:,.0f}") for tick in x_ticks if tick <= right],
        y_ticks=[Tick(place(0, tick)[1], tick_label(tick, y_ticks)) for tick in y_ticks],
    )
