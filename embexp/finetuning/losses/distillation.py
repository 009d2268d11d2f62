"""Losses that learn from a teacher: from its scores of passages, or from its vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from embexp.errors import ConfigError
from embexp.finetuning.losses.loss import above_zero
from embexp.finetuning.teachers import NO_TEACHER

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class MarginMse:
    """By how much a passage beats another must be as the teacher says: mean squared error (arXiv 2010.02666).

    Args:
        teacher: Who scores the passages, as a component of its own.
        scale: The student's score is this many times the cosine, to reach the size of a teacher's scores.
    """

    teacher: Any
    scale: float = 20.0
    columns = "ranked"

    def __post_init__(self) -> None:
        above_zero(scale=self.scale)

    def fingerprint(self) -> str:
        """Return the teacher's digest."""
        return digest_of(self.teacher)

    def build(self, model: SentenceTransformer) -> nn.Module:
        """Return the loss module over ``model``."""
        from sentence_transformers.sentence_transformer.losses import MarginMSELoss

        module: nn.Module = MarginMSELoss(model, similarity_fct=scaled_cosine(self.scale))
        return module


@dataclass(frozen=True, kw_only=True)
class DistillKl:
    """The softmax over a query's passages must be the teacher's: KL divergence (arXiv 2010.11386).

    Args:
        teacher: Who scores the passages, as a component of its own.
        scale: The student's score is this many times the cosine, as in in-batch losses.
        temperature: Both sides' scores are divided by it: above 1 the order further down counts more.
    """

    teacher: Any
    scale: float = 20.0
    temperature: float = 1.0
    columns = "ranked"

    def __post_init__(self) -> None:
        above_zero(scale=self.scale, temperature=self.temperature)

    def fingerprint(self) -> str:
        """Return the teacher's digest."""
        return digest_of(self.teacher)

    def build(self, model: SentenceTransformer) -> nn.Module:
        """Return the loss module over ``model``."""
        from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss

        module: nn.Module = DistillKLDivLoss(
            model, similarity_fct=scaled_cosine(self.scale), temperature=self.temperature
        )
        return module


@dataclass(frozen=True, kw_only=True)
class EmbedDistill:
    """The vectors must be the teacher's (EmbedDistill, arXiv 2301.12005).

    Where the teacher's vectors have another length, a linear map from the student's to theirs is trained
    along; it is no part of what comes out.

    Args:
        teacher: Whose vectors to learn, as a component of its own.
        distance: How far apart two vectors are.
    """

    teacher: Any
    distance: Literal["cosine", "mse", "l2"] = "cosine"
    columns = "vectors"

    def fingerprint(self) -> str:
        """Return the teacher's digest."""
        return digest_of(self.teacher)

    def build(self, model: SentenceTransformer, *, outputs: int) -> nn.Module:
        """Return the loss module over ``model`` for a teacher whose vectors have ``outputs`` numbers."""
        from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss

        same = outputs == model.get_embedding_dimension()
        module: nn.Module = EmbedDistillLoss(
            model, distance_metric=self.distance, projection_dim=None if same else outputs
        )
        return module


def digest_of(teacher: Any) -> str:
    """Return a teacher's digest.

    Raises:
        ConfigError: There is none.
    """
    if teacher is None:
        raise ConfigError(NO_TEACHER)
    return str(teacher.fingerprint())


def scaled_cosine(scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function that gives ``scale`` times the cosines of two tensors' rows."""
    from sentence_transformers.util import pairwise_cos_sim

    def similarity(first: Tensor, second: Tensor) -> Tensor:
        found: Tensor = scale * pairwise_cos_sim(first, second)
        return found

    return similarity
