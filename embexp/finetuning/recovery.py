"""Recovery: training is tried again after a divergence, or without enough memory."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from embexp.errors import ConfigError, ModelError
from embexp.finetuning.batch_sampler import BatchPlan
from embexp.finetuning.checkpoints import Checkpoints, Progress
from embexp.finetuning.distributed.process_group import Team
from embexp.finetuning.losses.mini_batches import in_pieces
from embexp.finetuning.parameter_efficient import Method
from embexp.finetuning.training import TrainingStep
from embexp.finetuning.training_rows import Rows

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
    from torch import nn

    from embexp.finetuning.checkpoints import Progress
    from embexp.finetuning.losses.loss import Loss
    from embexp.finetuning.training_loop import Recorder

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


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What training did: its steps, where it had gone on from, and how many rows a second it took."""

    steps: int
    resumed_from: int | None
    pairs_per_second: float


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a training needs; ``arguments`` gives the trainer's settings for a learning rate.

    ``team`` are the processes that share each batch, None for one alone.
    """

    model: SentenceTransformer
    loss: Loss
    method: Method
    rows: Rows
    plan: BatchPlan
    checkpoints: Checkpoints
    arguments: Callable[[float], SentenceTransformerTrainingArguments]
    learning_rate: float
    batch_size: int
    retries: int
    seed: int
    team: Team | None = None


def train(job: Job, recorder: Recorder) -> Trained:
    """Train from the newest checkpoint, or from the start; on return the model holds the best weights.

    A loss that diverges sends it back to the last good checkpoint at half the learning rate. A
    checkpoint that leads to the same end again is dropped for the one before. Where the memory does
    not suffice, the same batches are worked off in smaller pieces.

    Raises:
        ModelError: It was tried as often as it may be.
    """
    remedies = Remedies(most_retries=job.retries, batch_size=job.batch_size)
    resumed_from: int | None = None
    for attempt in range(job.retries + job.batch_size.bit_length() + 1):
        if attempt:
            _forget(job.model)
        job.checkpoints.load_start(job.model)
        found = job.checkpoints.latest()
        begin = found[2] if found else None
        resumed_from = begin if attempt == 0 else resumed_from
        recorder.restore(found[1] if found else Progress(), begin or 0, replay=attempt == 0)
        remedies.take_up(recorder.progress)
        recorder.remedies = remedies
        failure = _attempt(job, recorder, remedies, begin)
        if isinstance(failure, float):
            return Trained(steps=recorder.step, resumed_from=resumed_from, pairs_per_second=failure)
        if isinstance(failure, DivergenceError):
            remedies.after_divergence(failure, learning_rate=job.learning_rate)
            newest = job.checkpoints.latest()
            if attempt and newest is not None and newest[2] == begin:
                job.checkpoints.drop(newest[2])
        else:
            remedies.after_shortage(failure, step=recorder.step + 1)
        recorder.announce(remedies.points[-1])
    raise ModelError("Training did not get through: lower trainer.learning_rate and trainer.batch_size.")


def _attempt(
    job: Job, recorder: Recorder, remedies: Remedies, begin: int | None
) -> float | DivergenceError | RuntimeError | MemoryError:
    """Return the rows per second of training that got through, or what stopped it and can be mended."""
    from embexp.finetuning.distributed.worker import announce_attempt
    from embexp.finetuning.training_loop import run

    size = remedies.mini_batch_size
    if job.team is not None:
        announce_attempt(job.team, job.model, mini_batch_size=size)
    try:
        with job.method.training(job.model):
            module = build_loss(
                job.loss, job.model, job.rows, seed=job.seed, batch_size=job.batch_size, mini_batch_size=size
            )
            arguments = job.arguments(job.learning_rate * remedies.rate)
            return run(job.model, module, job.rows, job.plan, arguments, recorder, begin=begin, team=job.team)
    except DivergenceError as error:
        return error.with_traceback(None)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        # The traceback holds on to all tensors of the step.
        return error.with_traceback(None)


def _forget(model: SentenceTransformer) -> None:
    """Free what a failed attempt has left in memory."""
    import torch

    model.zero_grad(set_to_none=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def build_loss(
    loss: Loss,
    model: SentenceTransformer,
    rows: Rows,
    *,
    seed: int,
    batch_size: int,
    mini_batch_size: int | None,
) -> nn.Module:
    """Build a loss over a model, in pieces of ``mini_batch_size`` rows where it is given.

    Raises:
        ConfigError: The loss does not go with the model.
        ModelError: The loss cannot be worked off in pieces.
    """
    import torch

    name = type(loss).__name__
    torch.manual_seed(seed)
    try:
        sizes = {} if rows.outputs is None else {"outputs": rows.outputs}
        module = loss.build(model, **sizes)
    except ValueError as error:
        raise ConfigError(
            f"{name} cannot be used with this model: {error} Choose another loss (loss=mnrl)."
        ) from error
    if mini_batch_size is None:
        return module
    smaller = in_pieces(module, model, mini_batch_size=mini_batch_size)
    if smaller is None:
        raise ModelError(
            f"The memory does not suffice for trainer.batch_size={batch_size}, and {name} on this model "
            "cannot be worked off in smaller pieces: set a lower trainer.batch_size."
        )
    return smaller
