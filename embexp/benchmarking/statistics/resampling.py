"""The bootstrap's draws: whole source documents with replacement, a block of resamples at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

CELLS_PER_BLOCK = 2_000_000
"""Bounds memory: this many resampled clusters are held at once (about 50 MB)."""


def cluster_draws(
    clusters: int, *, resamples: int, seed: int, columns: int = 1
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield how often each cluster is drawn in each resample, shape (a block of resamples, clusters).

    Args:
        clusters: How many clusters there are; each resample draws as many, with replacement.
        resamples: How many resamples to draw in all.
        seed: Seeds the draws.
        columns: How many values the caller computes of each resample; more of them make smaller blocks.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    block = max(1, CELLS_PER_BLOCK // max(clusters, columns))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = rng.integers(0, clusters, size=(count, clusters)) + clusters * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * clusters).reshape(count, clusters)


def percentile_interval(values: Floats) -> tuple[float, float]:
    """Return the 95% percentile interval of a statistic's bootstrap values (Efron 1979)."""
    import numpy as np

    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
