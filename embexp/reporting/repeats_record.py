"""Seeds and learning curve in outcome.json: what is written, and how it is read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from embexp.types import Comparison, LearningCurve, Repeat, Seeds

COMPARED = tuple(each.name for each in fields(Comparison))
OWN = ("seed", "share", "pairs", "dev", "score")


def seeds_record(seeds: Seeds | None) -> dict[str, object] | None:
    """Return ``seeds`` as outcome.json holds it, with the lowest and highest score beside the spread."""
    if seeds is None:
        return None
    scores = [run.score for run in seeds.runs]
    return {
        "metric": seeds.metric,
        "mean": seeds.mean,
        "std": seeds.std,
        "min": min(scores),
        "max": max(scores),
        "comparison": comparison_record(seeds.comparison),
        "runs": [_repeat_record(run) for run in seeds.runs],
    }


def curve_record(curve: LearningCurve | None) -> dict[str, object] | None:
    """Return the learning curve as outcome.json holds it."""
    if curve is None:
        return None
    return {
        "metric": curve.metric,
        "points": [_repeat_record(point) for point in curve.points],
        "last": comparison_record(curve.last),
    }


def comparison_record(comparison: Comparison) -> dict[str, object]:
    """Return a comparison as outcome.json holds it."""
    return {name: getattr(comparison, name) for name in COMPARED}


def _repeat_record(repeat: Repeat) -> dict[str, object]:
    own = {name: getattr(repeat, name) for name in OWN}
    return {**own, "comparison": comparison_record(repeat.comparison)}


def read_seeds(record: Mapping[str, Any] | None) -> Seeds | None:
    """Return what ``seeds_record`` wrote; None where there is nothing."""
    if not record:
        return None
    return Seeds(
        metric=record["metric"],
        runs=tuple(_repeat(run) for run in record["runs"]),
        mean=record["mean"],
        std=record["std"],
        comparison=Comparison.from_record(record["comparison"]),
    )


def read_curve(record: Mapping[str, Any] | None) -> LearningCurve | None:
    """Return what ``curve_record`` wrote; None where there is nothing."""
    if not record:
        return None
    points = tuple(_repeat(point) for point in record["points"])
    return LearningCurve(metric=record["metric"], points=points, last=Comparison.from_record(record["last"]))


def _repeat(record: Mapping[str, Any]) -> Repeat:
    own = {name: record[name] for name in OWN}
    return Repeat(**own, comparison=Comparison.from_record(record["comparison"]))
