"""The score threshold in words and rows: below which score there is probably no answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embexp.benchmarking.thresholds import ScoreThreshold, ThresholdPoint
from embexp.reporting.outcome import Outcome
from embexp.reporting.tables import counted

LITTLE_TOLD = 0.2
"""A threshold that tells fewer of the questions with an answer from those without is called a weak one."""


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """One row of the table of thresholds; ``recommended`` marks the one to use."""

    threshold: str
    precision: str
    answered: str
    refused: str
    recommended: bool


def threshold_summary(outcome: Outcome) -> str:
    """Return the threshold, its interval and what it does, or why there is none; empty in older runs."""
    found = outcome.score_threshold
    if found is None:
        return ""
    if found.threshold is None or found.interval is None or found.at is None:
        return f"No score threshold: {found.reason}."
    at, (low, high) = found.at, found.interval
    right = (
        "" if at.precision is None else f", with {_rate(found, at.precision, 'precision')} right first hits"
    )
    return (
        f"Below a cosine of {found.threshold:.2f} (95% interval {low:.2f} … {high:.2f}) there is probably no "
        f"answer. With it, the {found.model} model answers {_rate(found, at.answered, 'answered')} of the "
        f"questions that have an answer{right}, and refuses {_rate(found, at.refused, 'refused')} of those "
        f"whose documents were removed ({counted(found.queries, 'dev question')} from "
        f"{counted(found.clusters, 'document')}).{_weak(at)}"
    )


def below_threshold(found: ScoreThreshold, score: float) -> str:
    """Return that there is probably no answer, where the best score of a search is below the threshold.

    Args:
        found: The run's threshold.
        score: The cosine of the first hit, by the model of the threshold.
    """
    if found.threshold is None or found.interval is None or found.at is None or score >= found.threshold:
        return ""
    low, high = found.interval
    return (
        f"Below {found.threshold:.3f}: there is probably no answer. The best cosine of the {found.model} "
        f"model is {score:.3f}; the run recommends this threshold (95% interval {low:.3f} … {high:.3f})."
        f"{_weak(found.at)}"
    )


def threshold_fact(outcome: Outcome) -> str:
    """Return the same as a line among the facts."""
    summary = threshold_summary(outcome)
    return summary if not summary or summary.startswith("No ") else f"Score threshold: {summary}"


def threshold_rows(found: ScoreThreshold | None) -> Sequence[ThresholdRow]:
    """Return the rates by threshold, with the recommended one in its place; none without a threshold."""
    if found is None or found.at is None:
        return []
    points = sorted([*found.curve, found.at], key=lambda each: each.threshold)
    return [
        ThresholdRow(
            f"{each.threshold:.3f}",
            "–" if each.precision is None else f"{each.precision:.0%}",
            f"{each.answered:.0%}",
            f"{each.refused:.0%}",
            recommended=each is found.at,
        )
        for each in points
    ]


def _rate(found: ScoreThreshold, value: float, name: str) -> str:
    """Return a rate at the threshold with its interval: ``81% (72 … 90%)``."""
    low, high = found.intervals[name]
    return f"{value:.0%} ({100 * low:.0f} … {high:.0%})"


def _weak(at: ThresholdPoint) -> str:
    told = at.answered + at.refused - 1
    if told >= LITTLE_TOLD:
        return ""
    return " Scores tell little here: questions with an answer and without score much alike."
