"""Losses that learn from a teacher: its scores of passages, or its vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Interval

from embexp.errors import ConfigError
from embexp.finetuning.losses.loss import Loss, library_loss
from embexp.finetuning.query_targets import fused_targets
from embexp.finetuning.teachers.teacher import NO_TEACHER
from embexp.models.encoder import Embedder
from embexp.ranges import Positive, ShareBelowOne, check_ranges
from embexp.user_code import identity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn

    from embexp.models.vector_files import Vectors

_SCALE = 10.0
"""Brings the loss to the size of others; AdamW itself does not depend on it, but gradient clipping does."""


@dataclass(frozen=True, kw_only=True)
class MarginMse(Loss):
    """The difference of two passages' scores must equal the teacher's: mean squared error (arXiv 2010.02666).

    Args:
        teacher: Scores the passages; a component of its own.
        scale: The student's score is the cosine times this, to match the range of a teacher's logits.
    """

    teacher: Any = None
    scale: Positive = 20.0
    columns = "ranked"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

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
    scale: Positive = 20.0
    temperature: Positive = 1.0
    columns = "ranked"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

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


@dataclass(frozen=True, kw_only=True)
class QueryDistill(Loss):
    """The query's vector must be where the fusion of the untuned model and BM25 would have it.

    No label and no passage is read in training: the targets are computed once (``query_targets.py``), and a
    step encodes queries only. Use it with ``trainer=query_encoder``, which leaves the passages' vectors.

    Args:
        weight: The share of BM25 in the teacher.
        ridge: The penalty of the regression that fits the targets to BM25; the larger, the nearer they stay
            to the directions in which passages differ most.
    """

    weight: ShareBelowOne = 0.5
    ridge: Annotated[float, Interval(ge=0, le=1_000)] = 0.01
    columns = "targets"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    def targets(self, queries: Sequence[str], passages: Sequence[str], *, embedder: Embedder) -> Vectors:
        """Return the targets of the queries, unit vectors of shape (queries, dimension)."""
        return fused_targets(queries, passages, embedder, weight=self.weight, ridge=self.ridge)

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return _target_distance(model)


def _target_distance(model: SentenceTransformer) -> nn.Module:
    """Return a module whose loss is the mean cosine distance of the queries' vectors to their labels."""
    from torch import nn
    from torch.nn.functional import cosine_similarity

    class TargetDistance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Sequence[dict[str, Tensor]], labels: Tensor) -> Tensor:
            vectors = self.model(features[0])["sentence_embedding"]
            return _SCALE * (1 - cosine_similarity(vectors, labels)).mean()

    return TargetDistance()


def _digest_of(teacher: Any) -> str:
    """Return a teacher's digest.

    Raises:
        ConfigError: There is none.
    """
    if teacher is None:
        raise ConfigError(NO_TEACHER)
    return identity(teacher)


def _scaled_cosine(scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function that computes ``scale`` times the cosine of each pair of rows."""
    from sentence_transformers.util import pairwise_cos_sim

    def similarity(first: Tensor, second: Tensor) -> Tensor:
        scores: Tensor = scale * pairwise_cos_sim(first, second)
        return scores

    return similarity
