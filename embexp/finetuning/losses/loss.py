"""What a loss promises, and checks and types that the losses' options share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, Protocol

from embexp.errors import ConfigError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


class Loss(Protocol):
    """A named loss: the columns it reads, and how to build it for a model.

    Where it has them, ``max_negatives`` is the most negatives that it reads, ``teacher`` whom it learns
    from, and ``fingerprint()`` a digest of what shapes it beside its settings. Of columns whose data decide
    how many numbers to make of a row (classes, vectors), ``build`` gets that as ``outputs``.
    """

    @property
    def columns(self) -> str:
        """The kind of columns that it reads: pairs, triplets, scored, binary, classes, ranked or vectors."""

    def build(self, model: SentenceTransformer, **outputs: int) -> nn.Module:
        """Return the loss module over ``model``."""


Distance = Literal["cosine", "euclidean", "manhattan"]


def above_zero(**options: float) -> None:
    """Check options of a loss.

    Raises:
        ConfigError: One is 0, negative or not a number.
    """
    for name, value in options.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"loss.{name}={value}: must be above 0; leave it out to use the default.")
