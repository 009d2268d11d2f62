"""Losses over (query, passage) pairs, with the other passages of the batch as negatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Interval

from embexp.finetuning.losses.gist_guide import SELF, guide_fingerprint, guide_for
from embexp.finetuning.losses.loss import Loss, library_loss
from embexp.ranges import Positive, check_ranges

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Mnrl(Loss):
    """In-batch negatives: each query must find its own passage among all passages of the batch.

    InfoNCE over cosine similarities (van den Oord et al. 2018, arXiv 1807.03748; Henderson et al.
    2017, arXiv 1705.00652).

    Args:
        scale: The inverse of the softmax temperature; 20 is a temperature of 0.05.
    """

    scale: Positive = 20.0
    columns = "pairs"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss("MultipleNegativesRankingLoss", model, scale=self.scale)


@dataclass(frozen=True, kw_only=True)
class MnrlSymmetric(Loss):
    """In-batch negatives in both directions: each passage must also find its query.

    Args:
        scale: The inverse of the softmax temperature.
    """

    scale: Positive = 20.0
    columns = "pairs"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss("MultipleNegativesSymmetricRankingLoss", model, scale=self.scale)


@dataclass(frozen=True, kw_only=True)
class CachedMnrl(Loss):
    """In-batch negatives for batches that do not fit into memory (GradCache, arXiv 2101.06983).

    Args:
        scale: The inverse of the softmax temperature.
        mini_batch_size: How many texts are embedded at once; it changes the memory needed, not the result.
    """

    scale: Positive = 20.0
    mini_batch_size: Annotated[int, Interval(ge=1, le=1_000_000)] = 32
    columns = "pairs"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss(
            "CachedMultipleNegativesRankingLoss",
            model,
            scale=self.scale,
            mini_batch_size=self.mini_batch_size,
        )


@dataclass(frozen=True, kw_only=True)
class Gist(Loss):
    """In-batch negatives, without those that a guide model considers positive (GIST, arXiv 2402.16829).

    Args:
        guide: ``self`` for a frozen copy of the untuned model, or a model's folder or Hub name.
        temperature: The softmax temperature.
        margin: How far below the positive's score a negative must lie; see ``margin_strategy``.
        margin_strategy: ``absolute`` subtracts the margin from the positive's score, ``relative`` that
            share of it.
    """

    guide: str = SELF
    temperature: Positive = 0.05
    margin: Annotated[float, Interval(ge=0, le=2)] = 0.0
    margin_strategy: Literal["absolute", "relative"] = "absolute"
    columns = "pairs"
    max_negatives = 1  # GISTEmbedLoss ignores all others

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    def fingerprint(self) -> str:
        """Return the guide's digest."""
        return guide_fingerprint(self.guide)

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss(
            "GISTEmbedLoss",
            model,
            guide_for(model, self.guide),
            temperature=self.temperature,
            margin=self.margin,
            margin_strategy=self.margin_strategy,
        )


@dataclass(frozen=True, kw_only=True)
class CachedGist(Loss):
    """GIST for batches that do not fit into memory (GradCache).

    Args:
        guide: ``self`` for a frozen copy of the untuned model, or a model's folder or Hub name.
        temperature: The softmax temperature.
        margin: How far below the positive's score a negative must lie.
        margin_strategy: ``absolute`` subtracts the margin from the positive's score, ``relative`` that
            share of it.
        mini_batch_size: How many texts are embedded at once.
    """

    guide: str = SELF
    temperature: Positive = 0.05
    margin: Annotated[float, Interval(ge=0, le=2)] = 0.0
    margin_strategy: Literal["absolute", "relative"] = "absolute"
    mini_batch_size: Annotated[int, Interval(ge=1, le=1_000_000)] = 32
    columns = "pairs"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    def fingerprint(self) -> str:
        """Return the guide's digest."""
        return guide_fingerprint(self.guide)

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss(
            "CachedGISTEmbedLoss",
            model,
            guide_for(model, self.guide),
            temperature=self.temperature,
            margin=self.margin,
            margin_strategy=self.margin_strategy,
            mini_batch_size=self.mini_batch_size,
        )
