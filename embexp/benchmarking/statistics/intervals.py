"""How sure a system's mean score is."""

from __future__ import annotations

import math
from collections.abc import Mapping

Z = 1.96


def clustered_interval(values: Mapping[str, float], clusters: Mapping[str, str]) -> tuple[float, float]:
    """Return the 95% interval of a mean whose queries come in clusters, cut to [0, 1].

    The standard error is the cluster-robust one, sqrt(G/(G−1) · Σ_g (Σ_{i∈g} (x_i − x̄))²) / n
    (Liang and Zeger 1986): questions about one document rise and fall together.

    Args:
        values: Query id to value in [0, 1].
        clusters: Query id to source document; a query that is not named is its own cluster.

    Returns:
        Lower and upper bound; (0, 1), which says nothing, for fewer than two clusters.
    """
    if not values:
        return 0.0, 1.0
    mean = math.fsum(values.values()) / len(values)
    sums: dict[str, float] = {}
    for query_id, value in values.items():
        cluster = clusters.get(query_id, query_id)
        sums[cluster] = sums.get(cluster, 0.0) + value - mean
    if len(sums) < 2:
        return 0.0, 1.0
    spread = math.fsum(total * total for total in sums.values())
    error = math.sqrt(len(sums) / (len(sums) - 1) * spread) / len(values)
    return max(mean - Z * error, 0.0), min(mean + Z * error, 1.0)
