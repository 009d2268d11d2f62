"""Losses over pairs of texts with a score or a class: graded similarity, or one of several relations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embexp.finetuning.losses.loss import Loss, library_loss
from embexp.ranges import Positive, check_ranges

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Cosine(Loss):
    """The cosine of the two texts must equal their score: mean squared error (arXiv 1908.10084)."""

    columns = "scored"

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss("CosineSimilarityLoss", model)


@dataclass(frozen=True, kw_only=True)
class Cosent(Loss):
    """Pairs must be ordered as their scores order them (CoSENT, Su 2022, kexue.fm/archives/8847).

    Args:
        scale: The inverse of the temperature.
    """

    scale: Positive = 20.0
    columns = "scored"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss("CoSENTLoss", model, scale=self.scale)


@dataclass(frozen=True, kw_only=True)
class Angle(Loss):
    """CoSENT on the angle between complex vectors, which does not saturate (AnglE, arXiv 2309.12871).

    Args:
        scale: The inverse of the temperature.
    """

    scale: Positive = 20.0
    columns = "scored"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss("AnglELoss", model, scale=self.scale)


@dataclass(frozen=True, kw_only=True)
class Softmax(Loss):
    """A classifier over both vectors and their difference must predict the class (arXiv 1908.10084).

    The classifier is trained with the model and discarded afterwards.

    Args:
        product: Whether the classifier also reads the product of both vectors, which suits search by cosine.
    """

    product: bool = True
    columns = "classes"

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model`` for ``outputs`` classes."""
        return library_loss(
            "SoftmaxLoss",
            model,
            model.get_embedding_dimension(),
            outputs,
            concatenation_sent_multiplication=self.product,
        )
