"""One training step with sentence-transformers' trainer: alone, or each process its share of the batch.

This file imports torch and transformers at its top, because it derives a class from theirs; it is
itself imported only when training starts.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.losses.merged_forward import column_merging_disabled
from transformers import PrinterCallback, TrainerCallback

from embexp.errors import ConfigError
from embexp.finetuning.batch_sampler import BatchPlan
from embexp.finetuning.checkpoints import (
    WEIGHTS,
    Checkpoints,
    Progress,
    load_loss,
    load_weights,
    own_weights,
    save_loss,
    save_weights,
)
from embexp.finetuning.cpu import quick_dropout
from embexp.finetuning.distributed.batch_sharing import SharingCollator, whole_batches
from embexp.finetuning.distributed.process_group import PeerShortageError, Team, shares
from embexp.finetuning.distributed.worker import announce_step
from embexp.finetuning.model_modes import attention, training_attention
from embexp.finetuning.recovery import DivergenceError, Remedies, out_of_memory, watch_level
from embexp.finetuning.training import TrainingStep
from embexp.progress import Bar

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
    from torch import nn

    from embexp.finetuning.training_rows import Rows

log = logging.getLogger(__name__)


class Steps(SentenceTransformerTrainer):  # type: ignore[misc]
    """The trainer of sentence-transformers as far as one step: the loss and its gradients.

    Args:
        team: The processes that share each batch; None for one alone.
    """

    def __init__(self, *, team: Team | None, **arguments: Any) -> None:
        self._team = team
        self._sizes: list[int] = []
        super().__init__(**arguments)
        self.current_gradient_accumulation_steps = 1
        if team is not None:
            self.data_collator: Any = SharingCollator(self.data_collator, team)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leave out the automatic model card: it quotes training data and asks the Hub for the base."""

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        """Embed each column by itself on a CPU: together, queries are padded to the passages' length.

        Columns that several processes gather must stay apart, too.
        """
        with ExitStack() as stack:
            if self._team is not None or self.args.device.type == "cpu":
                stack.enter_context(column_merging_disabled())
            if self._team is not None:
                stack.enter_context(whole_batches(self.loss, self._team, self._sizes))
            return super().compute_loss(model, inputs, *arguments, **options)

    def gradients(self, model: Any, inputs: Any, batch: Sequence[int], *arguments: Any) -> torch.Tensor:
        """Compute the loss of a batch and its gradients; those of all processes end up at the leader.

        Args:
            model: The model.
            inputs: What the collator made of the batch.
            batch: The rows of the whole batch.
            arguments: What else the library's ``training_step`` takes.

        Returns:
            The loss of the whole batch.
        """
        with attention(self.model, training_attention(self.model)), self._dropout():
            return self._gradients(model, inputs, batch, *arguments)

    def _dropout(self) -> AbstractContextManager[object]:
        return quick_dropout() if self.args.device.type == "cpu" else nullcontext()

    def _gradients(self, model: Any, inputs: Any, batch: Sequence[int], *arguments: Any) -> torch.Tensor:
        if self._team is None:
            loss: torch.Tensor = super().training_step(model, inputs, *arguments)
            return loss
        self._sizes = [len(share) for share in shares(batch, self._team.size)]
        try:
            loss = super().training_step(model, inputs, *arguments)
            trained = (value for value in model.parameters() if value.requires_grad)
            self._team.add_up(value.grad for value in trained if value.grad is not None)
        except (RuntimeError, MemoryError) as error:
            if out_of_memory(error) and not isinstance(error, PeerShortageError):
                self._team.check(short=True)
            raise
        return loss


LOGGED = ("loss", "learning_rate", "grad_norm")


class PlannedBatches:
    """Hands the planned batches of each epoch to a DataLoader."""

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._plan.steps

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._plan.epochs[self._epoch]:
            yield list(batch)


@dataclass(kw_only=True)
class Recorder(TrainerCallback):  # type: ignore[misc]
    """Keeps the log, scores the model on dev, remembers the best weights, and decides when to stop or save.

    Args:
        checkpoints: Where weights and progress are kept.
        schedule: The steps after which the model is scored on dev.
        evaluate: Scores the model on dev; ``first`` says that it is still untuned.
        metric: The dev metric that decides.
        patience: After how many evaluations without gain to stop; None never stops early.
        checkpoint_seconds: The longest time between two checkpoints.
        on_step: Told of each point of the log.
        bar: Told of each step.
    """

    checkpoints: Checkpoints
    schedule: frozenset[int]
    evaluate: Callable[..., Mapping[str, float]]
    metric: str
    patience: int | None
    checkpoint_seconds: float
    on_step: Callable[[TrainingStep], None]
    bar: Bar
    progress: Progress = field(default_factory=Progress)
    remedies: Remedies | None = None
    paused: float = 0.0
    step: int = 0
    _saved_at: float = field(default_factory=time.monotonic)

    def restore(self, progress: Progress, step: int, *, replay: bool) -> None:
        """Take up the log and the best score where a checkpoint left them, and tell of the log again."""
        self.progress = progress
        if replay:
            for point in progress.history:
                self.on_step(point)
        self.bar.advance(step - self.step)
        self.step = step

    def announce(self, point: TrainingStep) -> None:
        """Tell of a point that the next attempt will find in its log."""
        self.on_step(point)

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a point to the log."""
        point = TrainingStep(step, dict(metrics))
        self.progress.history.append(point)
        self.on_step(point)

    def score(self, model: SentenceTransformer, step: int) -> None:
        """Score the model on dev, and keep its weights if they are the best so far.

        Raises:
            ConfigError: The metric that decides is not among the dev metrics.
        """
        start = time.monotonic()
        metrics = self.evaluate(model, first=step == 0)
        if self.metric not in metrics:
            raise ConfigError(
                f"trainer.metric={self.metric}: the dev evaluation gives "
                f"{', '.join(sorted(metrics)) or 'nothing'}; choose one of these."
            )
        self.record(step, {f"dev_{name}": float(value) for name, value in metrics.items()})
        score, known = float(metrics[self.metric]), self.progress
        earlier = [found for found in (known.untuned_score, known.best_score) if found is not None]
        known.without_gain = 0 if score > max(earlier, default=-math.inf) else known.without_gain + 1
        if step == 0:
            known.untuned_score = score
        elif known.best_score is None or score > known.best_score:
            self.checkpoints.save_best(step, model)
            known.best_step, known.best_score = step, score
        log.info("Step %d: dev %s %.4f (best %.4f)", step, self.metric, score, max([score, *earlier]))
        self.paused += time.monotonic() - start

    def on_step_end(self, args: Any, state: Any, control: Any, **surroundings: Any) -> None:  # noqa: ARG002
        """Score, stop and save when it is time to."""
        self.bar.advance()
        self.step = step = state.global_step
        last = step >= state.max_steps
        due = step in self.schedule or time.monotonic() - self._saved_at >= self.checkpoint_seconds
        if due or last:
            _check_weights(surroundings["model"], step)
        if step in self.schedule:
            self.score(surroundings["model"], step)
            if self.patience is not None and self.progress.without_gain >= self.patience:
                log.info("No gain on dev in %d evaluations: training stops at step %d.", self.patience, step)
                control.should_training_stop = True
        control.should_save = due and not last and not control.should_training_stop

    def on_loss(self, loss: float, step: int) -> None:
        """Stop a step whose loss is no number, or has risen far.

        Raises:
            DivergenceError: It is so.
        """
        if not math.isfinite(loss):
            raise DivergenceError(f"The loss became {loss} at step {step}", step=step)
        if self.remedies is not None and self.remedies.watching:
            watch_level(self.progress, loss, step=step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:  # noqa: ARG002
        """Take over the loss, the learning rate and the gradient's norm."""
        if "loss" in logs:
            self.record(state.global_step, {name: float(logs[name]) for name in LOGGED if name in logs})
            self.bar.note(f"loss {logs['loss']:.3f}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Mark the checkpoint as whole."""
        self.checkpoints.complete(state.global_step, self.progress)
        self._saved_at = time.monotonic()


class Loop(Steps):
    """The trainer of sentence-transformers, with planned batches and lean, pickle-free checkpoints."""

    def __init__(self, *, plan: BatchPlan, recorder: Recorder, team: Team | None, **arguments: Any) -> None:
        self._plan = plan
        self._recorder = recorder
        super().__init__(team=team, callbacks=[recorder], **arguments)

    def get_batch_sampler(self, *_: Any, **__: Any) -> PlannedBatches:
        """Return our own batches."""
        return PlannedBatches(self._plan)

    def training_step(self, model: Any, inputs: Any, *arguments: Any) -> torch.Tensor:
        """Run one step.

        Raises:
            DivergenceError: The loss is not a finite number, or has risen far.
        """
        step = self.state.global_step
        batch = self._plan.batch(step)
        if self._team is not None:
            weights = [value for value in model.parameters() if value.requires_grad]
            announce_step(self._team, weights + own_weights(self.loss, model), batch, step=step)
        loss = self.gradients(model, inputs, batch, *arguments)
        self._recorder.on_loss(loss.item(), step + 1)
        return loss

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            _set_rate(self.optimizer, self.lr_scheduler, self.args.learning_rate)

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        start = time.monotonic()
        super()._save_checkpoint(*arguments, **options)
        self._recorder.paused += time.monotonic() - start

    def _save(self, output_dir: str | None = None, state_dict: object = None) -> None:  # noqa: ARG002
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(folder / WEIGHTS, self.model)
        save_loss(folder, self.loss, self.model)

    def _load_from_checkpoint(self, checkpoint_path: str, model: object = None) -> None:  # noqa: ARG002
        load_weights(Path(checkpoint_path) / WEIGHTS, self.model)
        load_loss(Path(checkpoint_path), self.loss, self.model)


def run(
    model: SentenceTransformer,
    loss: nn.Module,
    rows: Rows,
    plan: BatchPlan,
    arguments: SentenceTransformerTrainingArguments,
    recorder: Recorder,
    *,
    begin: int | None,
    team: Team | None = None,
) -> float:
    """Train to the end and leave the best trained weights in the model.

    Args:
        model: The untuned model; a checkpoint's weights replace its own.
        loss: The loss over ``model``.
        rows: The training rows.
        plan: Their batches.
        arguments: The settings of sentence-transformers' trainer.
        recorder: Holds the log and the checkpoints.
        begin: The step of the checkpoint to go on from; None starts anew.
        team: The processes that share each batch; None for one alone.

    Returns:
        Rows per second, dev scorings and checkpoints left out.

    Raises:
        DivergenceError: The loss or the weights stopped being numbers, or the loss rose far.
    """
    trainer = Loop(
        plan=plan, recorder=recorder, team=team, model=model, loss=loss, args=arguments,
        train_dataset=rows.dataset(),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    folder = None
    if begin is not None:
        folder = str(recorder.checkpoints.path(begin))
        log.info("Training goes on from step %d (%s).", begin, folder)
    elif 0 in recorder.schedule:
        recorder.score(model, 0)
    start, recorder.paused = time.monotonic(), 0.0
    trainer.train(resume_from_checkpoint=folder)
    busy = time.monotonic() - start - recorder.paused
    model.zero_grad(set_to_none=True)
    model.eval()
    steps, best = trainer.state.global_step, recorder.progress.best_step
    if best is not None and best != steps:
        recorder.checkpoints.load_best(best, model)
    sizes = [len(batch) for epoch in plan.epochs for batch in epoch][begin or 0 : steps]
    return round(sum(sizes) / busy, 3) if busy > 0 else 0.0


def _check_weights(model: nn.Module, step: int) -> None:
    """Keep weights that are no numbers out of dev scorings and checkpoints."""
    trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
    if not all(bool(torch.isfinite(parameter).all()) for parameter in trained):
        raise DivergenceError(f"The weights became nan or infinite at step {step}", step=step)


def _set_rate(optimizer: Any, scheduler: Any, peak: float) -> None:
    """Go on with another peak learning rate than the one that a checkpoint was written under."""
    scheduler = getattr(scheduler, "scheduler", scheduler)
    if all(base == peak for base in scheduler.base_lrs):
        return
    scheduler.base_lrs = [peak] * len(scheduler.base_lrs)
    rates = [peak * factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
    scheduler._last_lr = rates
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["initial_lr"], group["lr"] = peak, rate
