"""Whether a difference is real: clustered bootstrap, randomisation test, Holm's correction, power."""

from __future__ import annotations

from embexp.benchmarking.statistics.comparison import (
    MIN_CLUSTERS,
    Comparison,
    Verdict,
    clustered_interval,
    compare,
)
from embexp.benchmarking.statistics.multiple_tests import Contrast, contrasts
from embexp.benchmarking.statistics.power import power, questions_needed
from embexp.benchmarking.statistics.resampling import cluster_draws, percentile_interval

__all__ = [
    "MIN_CLUSTERS",
    "Comparison",
    "Contrast",
    "Verdict",
    "cluster_draws",
    "clustered_interval",
    "compare",
    "contrasts",
    "percentile_interval",
    "power",
    "questions_needed",
]
