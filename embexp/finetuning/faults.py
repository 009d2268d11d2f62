"""What goes wrong in training and can be mended: a loss that runs away, and memory that does not suffice."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from embexp.errors import ModelError
from embexp.types import TrainingStep

if TYPE_CHECKING:
    from embexp.finetuning.checkpoints import Progress

log = logging.getLogger(__name__)
MEMORY_WORDS = ("out of memory", "can't allocate memory", "not enough memory")
SMOOTHING = 0.1
WATCHED_FROM = 10
RISE, SLACK = 3.0, 1.0


class DivergenceError(ModelError):
    """The loss or the weights are no numbers any more, or the loss has risen far above where it was."""

    def __init__(self, message: str, *, step: int) -> None:
        super().__init__(message)
        self.step = step


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error is a failed allocation, on a GPU or a CPU."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in MEMORY_WORDS)


def watch_level(progress: Progress, loss: float, *, step: int) -> None:
    """Follow the smoothed loss, and notice when it leaves.

    The level is an exponential mean over about ten steps. It has left when it is above three times the
    lowest level so far, and one more; that is beyond the noise of the losses here, while vectors that
    collapse bring an in-batch loss to the logarithm of the batch size, about 4.

    Raises:
        DivergenceError: The loss has risen far above its lowest level.
    """
    level = loss if progress.level is None else progress.level + SMOOTHING * (loss - progress.level)
    progress.level = level
    if step < WATCHED_FROM:
        return
    lowest = level if progress.lowest_level is None else min(progress.lowest_level, level)
    progress.lowest_level = lowest
    if level > RISE * lowest + SLACK:
        raise DivergenceError(f"The loss rose from {lowest:.3g} to {level:.3g} by step {step}", step=step)


@dataclass(kw_only=True)
class Remedies:
    """What was changed so far to get training through: the learning rate, and the size of mini-batches.

    Args:
        most_retries: How often the learning rate may be halved.
        batch_size: The most rows in a batch.
    """

    most_retries: int
    batch_size: int
    retries: int = 0
    mini_batch_size: int | None = None
    points: list[TrainingStep] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """What the learning rate is multiplied with."""
        return float(0.5**self.retries)

    @property
    def watching(self) -> bool:
        """Whether a rising loss is worth an interruption: only while a retry is left."""
        return self.retries < self.most_retries

    def take_up(self, progress: Progress) -> None:
        """Know what an earlier attempt had changed, and tell the log what this one has."""
        self.retries = max(self.retries, progress.retries)
        sizes = [size for size in (self.mini_batch_size, progress.mini_batch_size) if size is not None]
        self.mini_batch_size = min(sizes, default=None)
        progress.retries, progress.mini_batch_size = self.retries, self.mini_batch_size
        progress.history.extend(point for point in self.points if point not in progress.history)

    def after_divergence(self, error: DivergenceError, *, learning_rate: float) -> None:
        """Halve the learning rate.

        Raises:
            ModelError: It was halved as often as it may be.
        """
        if self.retries >= self.most_retries:
            raise ModelError(
                f"{error} with a learning rate of {learning_rate * self.rate:g} "
                f"(trainer.learning_rate={learning_rate:g}, halved {self.retries} times; trainer.retries="
                f"{self.most_retries}): set a lower one, and check the labels if the loss reads scores."
            ) from error
        self.retries += 1
        rate = learning_rate * self.rate
        self.points.append(TrainingStep(error.step, {"retry": float(self.retries), "learning_rate": rate}))
        log.warning(
            "%s: training goes back to the last good checkpoint, with half the learning rate (%g, retry %d "
            "of %d).",
            *(error, rate, self.retries, self.most_retries),
        )

    def after_shortage(self, error: BaseException, *, step: int) -> None:
        """Halve the mini-batches that a batch is worked off in; the batch, and so the result, stays.

        Raises:
            ModelError: They hold one row already.
        """
        if self.mini_batch_size == 1:
            raise ModelError(
                "The memory does not suffice for one row at a time: set trainer.max_tokens to a lower value, "
                "or choose a smaller model or trainer=lora."
            ) from error
        self.mini_batch_size = (self.mini_batch_size or self.batch_size) // 2
        self.points.append(TrainingStep(step, {"mini_batch_size": float(self.mini_batch_size)}))
        log.warning(
            "Out of memory at step %d (%s): batches stay as they are, and are worked off %d rows at a time.",
            *(step, str(error).splitlines()[0][:100], self.mini_batch_size),
        )
