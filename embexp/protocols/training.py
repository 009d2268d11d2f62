"""Losses, and what trains with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from embexp.protocols.models import Embedder
from embexp.types import (
    Splits,
    Training,
    TrainingStep,
)

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


class Untuned(Protocol):
    """What is known of the untuned model from earlier runs, so that it embeds no text twice."""

    def embedder(self, model: SentenceTransformer) -> Embedder:
        """Return an embedder over ``model``, which is untuned, at its present text length."""

    def dev_scores(self, model: SentenceTransformer) -> Mapping[str, float]:
        """Score ``model``, which is untuned, on dev."""


class FineTuner(Protocol):
    """Trains a model on pairs."""

    def fit(
        self,
        model: SentenceTransformer,
        loss: Loss,
        splits: Splits,
        *,
        dev_scores: Callable[[SentenceTransformer], Mapping[str, float]],
        work_dir: Path,
        seed: int,
        on_step: Callable[[TrainingStep], None],
        untuned: Untuned | None = None,
    ) -> Training:
        """Train ``model`` in place; on return it holds the weights that scored best on dev.

        ``work_dir`` keeps checkpoints: a call that finds some there goes on from the newest.
        """


@runtime_checkable
class SharedFineTuner(FineTuner, Protocol):
    """A trainer that several processes can share."""

    def follow(self, loss: Loss, load: Callable[[], SentenceTransformer]) -> None:
        """Help the trainings of the process that leads, until its command ends; write nothing."""
