"""Statistical power: the chance that a true difference of a given size leads to a verdict."""

from __future__ import annotations

import math

from embexp.benchmarking.statistics.comparison import MIN_CLUSTERS, Comparison

EFFECTS = (0.01, 0.02, 0.05)
"""The differences that reports speak of."""
ENOUGH_POWER = 0.8
MAX_CLUSTERS = 10_000_000
CERTAIN = 30.0
"""Beyond this many standard errors the power is 1 to all digits, and the distribution cannot be computed."""


def power(comparison: Comparison, effect: float, *, clusters: int | None = None) -> float:
    """Return the chance that a two-sided test at 5% detects a true difference of ``effect``.

    The mean difference over its cluster-robust error follows Student's t with one degree of freedom
    less than there are clusters, and the noncentral t where there is a true difference (Cohen,
    Statistical Power Analysis, 1988). The error is half the 95% interval over the critical value.

    Args:
        comparison: Its interval says how much the difference varies.
        effect: The true difference, above 0.
        clusters: With how many source documents; None is as many as there were. The error falls with
            the square root of their number.

    Returns:
        The power, in [0, 1]; 0 for fewer than ``MIN_CLUSTERS`` source documents, which lead to no verdict.
    """
    from scipy.stats import nct, t

    count = comparison.clusters if clusters is None else clusters
    if count < MIN_CLUSTERS or comparison.clusters < 2:
        return 0.0
    half = (comparison.interval[1] - comparison.interval[0]) / 2
    error = half / float(t.ppf(0.975, comparison.clusters - 1)) * math.sqrt(comparison.clusters / count)
    if effect >= CERTAIN * error:
        return 1.0
    critical = float(t.ppf(0.975, count - 1))
    # The lower tail as the upper one of the mirrored distribution: scipy's cdf is NaN for large effects.
    chance = nct.sf(critical, count - 1, effect / error) + nct.sf(critical, count - 1, -effect / error)
    return min(float(chance), 1.0)


def questions_needed(comparison: Comparison, effect: float) -> int:
    """Return how many questions, as many per document as now, detect ``effect`` with a chance of 80%."""
    low, high = MIN_CLUSTERS - 1, MIN_CLUSTERS
    while power(comparison, effect, clusters=high) < ENOUGH_POWER and high < MAX_CLUSTERS:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(comparison, effect, clusters=middle) >= ENOUGH_POWER
        low, high = (low, middle) if enough else (middle, high)
    return math.ceil(high * comparison.queries / max(comparison.clusters, 1))
