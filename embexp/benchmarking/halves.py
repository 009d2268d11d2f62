"""Means over random halves of the clusters: between which of them does the true mean lie?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

CELLS_PER_BLOCK = 2_000_000
"""Bounds memory: this many drawn clusters are held at once (about 50 MB)."""


def half_means(sums: Floats, sizes: Floats, *, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """Return the lower and the higher mean of each random division of the clusters into two.

    If clusters were as likely to lie above the true mean as below it, in mirror images, that mean would
    lie between the two with the same chance for each division, whatever the sizes of the clusters
    (Hartigan, Using Subsample Values as Typical Values, JASA 64, 1969). It is the randomisation test,
    turned into an interval.

    Args:
        sums: Each cluster's sum, shape (clusters,).
        sizes: Each cluster's number of questions, shape (clusters,).
        resamples: How many divisions to draw.
        seed: Seeds them.

    Returns:
        Two sorted arrays of shape (resamples,); a division that leaves one side empty bounds nothing.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    clusters = len(sums)
    total, count = sums.sum(), sizes.sum()
    block = max(1, CELLS_PER_BLOCK // clusters)
    lows, highs = [], []
    for start in range(0, resamples, block):
        one = _coins(rng, min(block, resamples - start), clusters)
        sum_one, size_one = one @ sums, one @ sizes
        divided = (size_one > 0) & (size_one < count)
        first = sum_one / np.where(divided, size_one, 1.0)
        second = (total - sum_one) / np.where(divided, count - size_one, 1.0)
        lows.append(np.where(divided, np.minimum(first, second), -np.inf))
        highs.append(np.where(divided, np.maximum(first, second), np.inf))
    return np.sort(np.concatenate(lows)), np.sort(np.concatenate(highs))


def _coins(rng: np.random.Generator, rows: int, columns: int) -> Floats:
    """Return zeros and ones of equal chance, shape (rows, columns), from 64 bits at a time."""
    import numpy as np

    words = rng.integers(0, 2**64 - 1, size=(rows, -(-columns // 64)), dtype=np.uint64, endpoint=True)
    return np.unpackbits(words.view(np.uint8), axis=1)[:, :columns].astype(np.float64)
