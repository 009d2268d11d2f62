"""The map of questions and passages as numbers for two pictures: before training, and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embexp.types import EmbeddingMap

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
