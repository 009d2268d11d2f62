"""Recovery: training is retried after a divergence, and continues in mini-batches when memory runs out."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from embexp.errors import ModelError
from embexp.finetuning.checkpoints import Checkpoints, Progress, TrainingLog
from embexp.finetuning.settings import TrainerSettings
from embexp.finetuning.training import TrainingStep

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

_MEMORY_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory")
_SMOOTHING = 0.1
_WATCHED_FROM = 10
_RISE, _SLACK = 3.0, 1.0


class DivergenceError(ModelError):
    """The loss or the weights are not finite, or the loss has risen far above its lowest level."""

    def __init__(self, message: str, *, step: int) -> None:
        super().__init__(message)
        self.step = step


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error is a failed allocation, on a GPU or a CPU."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _MEMORY_MESSAGES)


def free_memory(module: nn.Module) -> None:
    """Free what a failed step has left in memory."""
    import torch

    module.zero_grad(set_to_none=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def check_loss_level(progress: Progress, loss: float, *, step: int) -> None:
    """Update the smoothed loss and check that it has not risen far.

    The level is an exponential mean over about ten steps. The loss has diverged when the level is above
    three times its lowest value, plus one: that is beyond the noise of these losses, while collapsed
    vectors push an in-batch loss to the logarithm of the batch size, about 4.

    Raises:
        DivergenceError: The loss has risen far above its lowest level.
    """
    level = loss if progress.level is None else progress.level + _SMOOTHING * (loss - progress.level)
    progress.level = level
    if step < _WATCHED_FROM:
        return
    lowest = level if progress.lowest_level is None else min(progress.lowest_level, level)
    progress.lowest_level = lowest
    if level > _RISE * lowest + _SLACK:
        raise DivergenceError(f"The loss rose from {lowest:.3g} to {level:.3g} by step {step}", step=step)


@dataclass(kw_only=True)
class Recovery:
    """What was changed so far to get a training through: the learning rate and the size of mini-batches.

    Args:
        settings: The trainer's settings: ``retries``, ``learning_rate`` and ``batch_size``.
        retries: How often the learning rate was halved.
        mini_batch_size: The rows that are embedded at once; None for whole batches.
        points: The changes, as points of the log.
    """

    settings: TrainerSettings
    retries: int = 0
    mini_batch_size: int | None = None
    points: list[TrainingStep] = field(default_factory=list)

    @property
    def current_rate(self) -> float:
        """The peak learning rate of the present try."""
        return float(self.settings.learning_rate * 0.5**self.retries)

    @property
    def retries_left(self) -> bool:
        """Whether a retry is left; without one, a loss that merely rises is left alone."""
        return self.retries < self.settings.retries

    def restore(self, progress: Progress) -> None:
        """Continue with the changes that a checkpoint holds, and add later ones to its log."""
        self.retries = max(self.retries, progress.retries)
        sizes = [size for size in (self.mini_batch_size, progress.mini_batch_size) if size is not None]
        self.mini_batch_size = min(sizes, default=None)
        progress.retries, progress.mini_batch_size = self.retries, self.mini_batch_size
        progress.history.extend(point for point in self.points if point not in progress.history)

    def after_divergence(self, error: DivergenceError) -> None:
        """Halve the learning rate.

        Raises:
            ModelError: No retry is left.
        """
        if not self.retries_left:
            raise ModelError(
                f"{error} with a learning rate of {self.current_rate:g} "
                f"(trainer.learning_rate={self.settings.learning_rate:g}, halved {self.retries} times; "
                f"trainer.retries={self.settings.retries}): set a lower one, and check the labels if the "
                "loss reads scores."
            ) from error
        self.retries += 1
        self.points.append(
            TrainingStep(error.step, {"retry": float(self.retries), "learning_rate": self.current_rate})
        )
        log.warning(
            "%s: training returns to the last good checkpoint, with half the learning rate (%g, retry %d "
            "of %d).",
            *(error, self.current_rate, self.retries, self.settings.retries),
        )

    def after_out_of_memory(self, error: BaseException, *, step: int) -> None:
        """Halve the mini-batches in which a batch is computed; the batch, and so the result, stays.

        Raises:
            ModelError: They hold one row already.
        """
        if self.mini_batch_size == 1:
            raise ModelError(
                "The memory does not suffice for one row at a time: set trainer.max_tokens to a lower value, "
                "or choose a smaller model or trainer=lora."
            ) from error
        self.mini_batch_size = (self.mini_batch_size or self.settings.batch_size) // 2
        self.points.append(TrainingStep(step, {"mini_batch_size": float(self.mini_batch_size)}))
        log.warning(
            "Out of memory at step %d (%s): training continues with the same batches, %d rows at a time.",
            *(step, str(error).splitlines()[0][:100], self.mini_batch_size),
        )


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The outcome of the steps: how many, from which one training resumed, and rows per second."""

    steps: int
    resumed_from: int | None
    pairs_per_second: float


def train_with_recovery(
    train: Callable[[int | None], float],
    *,
    model: nn.Module,
    checkpoints: Checkpoints,
    recovery: Recovery,
    training_log: TrainingLog,
) -> Trained:
    """Train from the newest checkpoint, or from the start, until a try gets through.

    After a divergence, training returns to the last good checkpoint at half the learning rate; a checkpoint
    that leads to divergence again is dropped for the one before. Without enough memory, the same batches are
    computed in smaller mini-batches.

    Args:
        train: Trains from a checkpoint's step (None: from the start) to the end, as ``recovery`` says, and
            returns rows per second.
        model: The model; every try starts from its untuned weights or from a checkpoint.
        checkpoints: The checkpoints.
        recovery: What was changed so far.
        training_log: The log.

    Raises:
        ModelError: No change is left to try.
    """
    resumed_from: int | None = None
    for attempt in range(recovery.settings.retries + recovery.settings.batch_size.bit_length() + 1):
        if attempt:
            free_memory(model)
        checkpoints.load_start(model)
        latest = checkpoints.latest()
        begin = latest[2] if latest else None
        training_log.progress, training_log.step = (latest[1], latest[2]) if latest else (Progress(), 0)
        if attempt == 0:
            resumed_from = begin
            training_log.replay()
        recovery.restore(training_log.progress)
        try:
            speed = train(begin)
            return Trained(steps=training_log.step, resumed_from=resumed_from, pairs_per_second=speed)
        except DivergenceError as error:
            recovery.after_divergence(error)
            newest = checkpoints.latest()
            if attempt and newest is not None and newest[2] == begin:
                checkpoints.drop(newest[2])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            recovery.after_out_of_memory(error, step=training_log.step + 1)
        training_log.on_step(recovery.points[-1])
    raise ModelError("Training did not get through: lower trainer.learning_rate and trainer.batch_size.")
