"""The randomisation test: could the labels of two systems be swapped without anyone noticing?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

CELLS_PER_BLOCK = 1_000_000
"""Bounds memory: this many swapped clusters are held at once (about 30 MB)."""


def randomisation_p(sums: Floats, *, resamples: int = 10_000, seed: int = 0) -> float:
    """Return the two-sided p of Fisher's paired randomisation test over whole clusters.

    If two systems were equally good, swapping their names on all questions of one document would
    change nothing but the sign of that document's difference (Smucker, Allan & Carterette, CIKM 2007,
    who swap question by question). p is the share of swaps that differ as much as what was observed;
    where there are no more than ``resamples`` ways to swap, all of them are counted.

    Args:
        sums: Each cluster's sum of differences, shape (clusters,).
        resamples: How many random swaps to try at most.
        seed: Seeds them.

    Returns:
        p in (0, 1]; 1 where no cluster differs.
    """
    import numpy as np
    from scipy.stats import permutation_test

    changed = sums[np.abs(sums) > 0]  # a cluster without a difference looks the same when swapped
    if len(changed) < 2:
        return 1.0
    found = permutation_test(
        (changed, np.zeros_like(changed)),
        _total,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, CELLS_PER_BLOCK // len(changed)),
        random_state=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def _total(tuned: Floats, base: Floats, axis: int) -> Floats:
    return (tuned - base).sum(axis=axis)  # type: ignore[no-any-return]
