"""Vectors of two models on one flat map, so that what training moved can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating]


def project(before: Floats, after: Floats) -> tuple[Floats, Floats, tuple[float, float]]:
    """Return both models' vectors of the same texts as points of one plane.

    Each model's vectors are centred. The second model's are then turned (and mirrored), all together, so
    that they come as near to the first model's as they can: orthogonal Procrustes (Schönemann,
    Psychometrika 31, 1966), which leaves every distance within a model as it is; a shorter vector is
    filled up with zeros first. The plane is spanned by the first two principal components of both sets.

    Args:
        before: The first model's vectors, shape (texts, dimension).
        after: The second model's, of the same texts; the dimension may be another.

    Returns:
        Two arrays of shape (texts, 2), and the share of each model's variance that the plane shows.
    """
    import numpy as np
    from scipy.linalg import orthogonal_procrustes

    width = max(before.shape[1], after.shape[1])
    first, second = (_centred(vectors, width) for vectors in (before, after))
    turned = second @ orthogonal_procrustes(second, first)[0]
    axes = np.linalg.svd(np.concatenate([first, turned]), full_matrices=False)[2][:2]
    # The sign of a component is arbitrary: its largest weight is made positive, so that maps repeat.
    largest = np.abs(axes).argmax(axis=1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    shares = tuple(_shown(vectors, axes) for vectors in (first, turned))
    return first @ axes.T, turned @ axes.T, (shares[0], shares[1])


def _centred(vectors: Floats, width: int) -> Floats:
    import numpy as np

    filled: Floats = np.zeros((len(vectors), width))
    filled[:, : vectors.shape[1]] = vectors
    filled -= filled.mean(axis=0)
    return filled


def _shown(vectors: Floats, axes: Floats) -> float:
    total = float((vectors**2).sum())
    return float(((vectors @ axes.T) ** 2).sum()) / total if total else 0.0
