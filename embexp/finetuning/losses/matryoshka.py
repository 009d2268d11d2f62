"""A loss that trains several vector lengths at once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Interval

from embexp.errors import ConfigError
from embexp.finetuning.losses.loss import Gate, Loss, library_loss
from embexp.finetuning.teachers.teacher import Teacher
from embexp.ranges import NonNegative, check_ranges
from embexp.user_code import identity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn

log = logging.getLogger(__name__)

_ONE_LENGTH = ("classes", "vectors")
"""Columns whose losses have weights of their own, for vectors of one length."""


@dataclass(frozen=True, kw_only=True)
class Matryoshka(Loss):
    """Another loss, applied to the first dimensions of the vectors as well (arXiv 2205.13147).

    Args:
        loss: The inner loss, a component of its own (``_target_`` and its options).
        dims: The vector lengths to train; the model's own length is added if it is missing.
        weights: A weight for each of ``dims``; None weights all with 1.
    """

    loss: Any
    dims: list[Annotated[int, Interval(ge=1, le=1_000_000)]]
    weights: list[NonNegative] | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "loss")
        if not self.dims:
            raise ConfigError("loss.dims is empty: give vector lengths, such as [256, 128, 64].")
        if self.weights is not None and len(self.weights) != len(self.dims):
            raise ConfigError(
                f"loss.weights has {len(self.weights)} values for {len(self.dims)} loss.dims: "
                "give one for each."
            )
        if self.loss.columns in _ONE_LENGTH:
            raise ConfigError(
                f"loss=matryoshka shortens vectors, and {type(self.loss).__name__} has weights for one "
                "length only: set loss@loss.loss to a loss over pairs or scores, such as mnrl or cosent."
            )

    @property
    def columns(self) -> str:  # type: ignore[override]
        """The columns of the inner loss."""
        return str(self.loss.columns)

    @property
    def max_negatives(self) -> int | None:  # type: ignore[override]
        """The most negatives that the inner loss reads."""
        limit: int | None = self.loss.max_negatives
        return limit

    @property
    def teacher(self) -> Teacher | None:  # type: ignore[override]
        """The teacher of the inner loss."""
        teacher: Teacher | None = self.loss.teacher
        return teacher

    @property
    def gate(self) -> Gate:  # type: ignore[override]
        """What happens to a teacher of the inner loss that does not help."""
        gate: Gate = self.loss.gate
        return gate

    @property
    def fallback(self) -> Loss | None:  # type: ignore[override]
        """The loss that the inner one falls back on, for the same lengths."""
        inner = self.loss.fallback
        return None if inner is None else replace(self, loss=inner)

    def fingerprint(self) -> str:
        """Return the digest of the inner loss."""
        return identity(self.loss)

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``, without lengths above that of its vectors."""
        full = model.get_embedding_dimension()
        weighted = dict(zip(self.dims, self.weights or [1.0] * len(self.dims), strict=True))
        if too_long := [dim for dim in weighted if dim > full]:
            log.warning("loss.dims=%s are left out: this model's vectors have %d dimensions.", too_long, full)
        kept = {full: 1.0} | {dim: weight for dim, weight in weighted.items() if dim <= full}
        inner, weights = self.loss.build(model, outputs), list(kept.values())
        return library_loss("MatryoshkaLoss", model, inner, list(kept), matryoshka_weights=weights)
