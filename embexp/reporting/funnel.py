"""What each filter of a synthesis took out, for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """A reason for which queries were dropped: how many, their share of all, and the first few of them."""

    name: str
    count: int
    share: float
    examples: Sequence[str] = ()


def funnel(report: Mapping[str, Any]) -> list[Step]:
    """Return what was accepted, then what was rejected, the commonest reason first.

    Args:
        report: The synthesis's own account, with ``accepted``, ``rejected`` and ``examples_dropped``.

    Returns:
        The steps; none where the synthesis gave no account.
    """
    if "accepted" not in report:
        return []
    rejected = report.get("rejected", {})
    examples = report.get("examples_dropped", {})
    total = max(report["accepted"] + sum(rejected.values()), 1)
    steps = [Step("accepted", report["accepted"], report["accepted"] / total)]
    ordered = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    return steps + [Step(name, count, count / total, examples.get(name, ())) for name, count in ordered]
