"""Losses over distances with a margin: triplets, and pairs that match or do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embexp.finetuning.losses.loss import Distance, Loss, library_loss
from embexp.ranges import Positive, check_ranges

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Triplet(Loss):
    """The positive must be closer to the query than the negative is, by a margin (arXiv 1503.03832).

    Args:
        margin: The least difference of the two distances; cosine distance lies in [0, 2].
        distance_metric: How distance is measured.
    """

    margin: Positive = 0.3
    distance_metric: Distance = "cosine"
    columns = "triplets"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        from sentence_transformers.sentence_transformer.losses import TripletDistanceMetric

        metric = getattr(TripletDistanceMetric, self.distance_metric.upper())
        return library_loss("TripletLoss", model, distance_metric=metric, triplet_margin=self.margin)


def _siamese(distance: Distance) -> Any:
    from sentence_transformers.sentence_transformer.losses import SiameseDistanceMetric

    return getattr(SiameseDistanceMetric, "COSINE_DISTANCE" if distance == "cosine" else distance.upper())


@dataclass(frozen=True, kw_only=True)
class Contrastive(Loss):
    """Positives are pulled together, negatives pushed beyond a margin (Hadsell et al. 2006).

    Args:
        margin: The distance beyond which a negative adds no loss.
        distance_metric: How distance is measured.
    """

    margin: Positive = 0.5
    distance_metric: Distance = "cosine"
    columns = "binary"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss(
            "ContrastiveLoss", model, distance_metric=_siamese(self.distance_metric), margin=self.margin
        )


@dataclass(frozen=True, kw_only=True)
class OnlineContrastive(Loss):
    """Contrastive loss on the hard cases of each batch only: distant positives and close negatives.

    Args:
        margin: The distance beyond which a negative adds no loss.
        distance_metric: How distance is measured.
    """

    margin: Positive = 0.5
    distance_metric: Distance = "cosine"
    columns = "binary"

    def __post_init__(self) -> None:
        check_ranges(self, "loss")

    def build(self, model: SentenceTransformer, outputs: int | None) -> nn.Module:
        """Return the loss module over ``model``."""
        return library_loss(
            "OnlineContrastiveLoss", model, distance_metric=_siamese(self.distance_metric), margin=self.margin
        )
