"""What a fine-tuner promises, and the record of how a training went."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from embexp.data.splitting import Splits
from embexp.models.encoder import Embedder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.finetuning.losses.loss import Loss

GENERAL = "general_"
"""Before the name of a metric: what a model in training scores on a general set, to see what it forgets."""


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One point of the training log: ``metrics`` holds loss, learning_rate or dev metrics."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Training:
    """What a fine-tune did; ``seconds`` leaves out what an earlier, interrupted run had spent.

    ``delivered`` names the weights that came out (untuned, tuned, "merged 0.5"), and ``candidates`` gives
    the dev score of each that was considered; ``general`` their scores on a general set, where there is one.
    """

    pairs: int
    steps: int
    seconds: float
    pairs_per_second: float
    resumed_from: int | None = None
    best_step: int | None = None
    history: Sequence[TrainingStep] = ()
    delivered: str | None = None
    candidates: Mapping[str, float] = field(default_factory=dict)
    general: Mapping[str, float] = field(default_factory=dict)

    def best(self, metric: str) -> float | None:
        """Return the highest value of a metric on dev, None where it was never scored."""
        return max(self.dev(metric), default=None)

    def dev(self, metric: str) -> list[float]:
        """Return a metric's values on dev, in the order of the steps."""
        name = f"dev_{metric}"
        return [step.metrics[name] for step in self.history if name in step.metrics]


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
