"""Losses that learn from a teacher: its scores of passages, or its vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from embexp.errors import ConfigError
from embexp.finetuning.losses.loss import Loss, library_loss, require_positive
from embexp.finetuning.teachers import NO_TEACHER

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class MarginMse(Loss):
    """The difference of two passages' scores must equal the teacher's: mean squared error (arXiv 2010.02666).

    Args:
        teacher: Scores the passages; a component of its own.
        scale: The student's score is the cosine times this, to match the range of a teacher's logits.
    """

    teacher: Any = None
    scale: float = 20.0
    columns = "ranked"

    def __post_init__(self) -> None:
        require_positive(scale=self.scale)

    def fingerprint(self) -> str:
        """Return the teacher's digest."""
        return _digest_of(self.teacher)

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss("MarginMSELoss", model, similarity_fct=_scaled_cosine(self.scale))


@dataclass(frozen=True, kw_only=True)
class DistillKl(Loss):
    """The softmax over a query's passages must be the teacher's: KL divergence (arXiv 2010.11386).

    Args:
        teacher: Scores the passages; a component of its own.
        scale: The student's score is the cosine times this, as in in-batch losses.
        temperature: Divides both sides' scores; above 1, lower-ranked passages count more.
    """

    teacher: Any = None
    scale: float = 20.0
    temperature: float = 1.0
    columns = "ranked"

    def __post_init__(self) -> None:
        require_positive(scale=self.scale, temperature=self.temperature)

    def fingerprint(self) -> str:
        """Return the teacher's digest."""
        return _digest_of(self.teacher)

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss(
            "DistillKLDivLoss", model, similarity_fct=_scaled_cosine(self.scale), temperature=self.temperature
        )


@dataclass(frozen=True, kw_only=True)
class EmbedDistill(Loss):
    """The vectors must be the teacher's (EmbedDistill, arXiv 2301.12005).

    If the teacher's vectors have another length, a linear map from the student's vectors to theirs is trained
    with the model and discarded afterwards.

    Args:
        teacher: Gives the vectors; a component of its own.
        distance_metric: How distance is measured.
    """

    teacher: Any = None
    distance_metric: Literal["cosine", "mse", "l2"] = "cosine"
    columns = "vectors"

    def fingerprint(self) -> str:
        """Return the teacher's digest."""
        return _digest_of(self.teacher)

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model`` for a teacher whose vectors have ``outputs`` dimensions."""
        projection = None if outputs == model.get_embedding_dimension() else outputs
        return library_loss(
            "EmbedDistillLoss", model, distance_metric=self.distance_metric, projection_dim=projection
        )


def _digest_of(teacher: Any) -> str:
    """Return a teacher's digest.

    Raises:
        ConfigError: There is none.
    """
    if teacher is None:
        raise ConfigError(NO_TEACHER)
    return str(teacher.fingerprint())


def _scaled_cosine(scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function that computes ``scale`` times the cosine of each pair of rows."""
    from sentence_transformers.util import pairwise_cos_sim

    def similarity(first: Tensor, second: Tensor) -> Tensor:
        scores: Tensor = scale * pairwise_cos_sim(first, second)
        return scores

    return similarity
