"""What tuning did to a general retrieval set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from embexp.benchmarking.statistics.comparison import Comparison


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What tuning did to a general retrieval set; ``comparison`` is the score after minus the one before."""

    task: str
    scores: Mapping[str, Mapping[str, float]]
    comparison: Comparison
