"""Which metrics a table of systems shows, and which value is the best."""

from __future__ import annotations

from collections.abc import Mapping

from embexp.types import Outcome


def shown_metrics(outcome: Outcome) -> list[str]:
    """Return every metric that a system has, the one that the verdict rests on first."""
    found = dict.fromkeys(metric for values in outcome.scores.values() for metric in values)
    if outcome.comparison and outcome.comparison.metric in found:
        first = outcome.comparison.metric
        return [first, *(metric for metric in found if metric != first)]
    return list(found)


def best_value(scores: Mapping[str, Mapping[str, float]], metric: str) -> float:
    """Return the highest value of ``metric`` over the systems, rounded as it is shown."""
    return max(round(values[metric], 3) for values in scores.values() if metric in values)
