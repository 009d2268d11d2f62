"""Training until it gets through: tried again after a loss that runs away, or without enough memory."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embexp.errors import ConfigError, ModelError
from embexp.finetuning.batches import BatchPlan
from embexp.finetuning.checkpoints import Checkpoints, Progress
from embexp.finetuning.faults import DivergenceError, Remedies, out_of_memory
from embexp.finetuning.losses.pieces import in_pieces
from embexp.finetuning.methods import Method
from embexp.finetuning.rows import Rows
from embexp.finetuning.team import Team

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
    from torch import nn

    from embexp.finetuning.loop import Recorder
    from embexp.protocols import Loss

log = logging.getLogger(__name__)


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
    from embexp.finetuning.follower import announce_attempt
    from embexp.finetuning.loop import run

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
