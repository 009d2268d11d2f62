"""The training loop: sentence-transformers' trainer with planned batches, callbacks and own checkpoints.

This module imports torch and transformers at its top, because its classes derive from theirs; it is itself
imported only when training starts.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback

from embexp.finetuning.batch_memory import warn_of_batch_memory
from embexp.finetuning.batch_sampler import BatchPlan, PlannedBatchSampler
from embexp.finetuning.callbacks import (
    Checkpointing,
    DevEvaluation,
    DivergenceWatch,
    EarlyStopping,
    Logging,
)
from embexp.finetuning.checkpoints import load_checkpoint, loss_weights, save_checkpoint
from embexp.finetuning.context import TrainingContext
from embexp.finetuning.distributed.gradients import GradientTrainer, training_arguments, trains_in_bf16
from embexp.finetuning.distributed.process_group import ProcessGroup, announce_step, announce_try
from embexp.finetuning.losses.loss import Loss
from embexp.finetuning.losses.mini_batches import build_loss
from embexp.finetuning.parameter_efficient import Full
from embexp.finetuning.recovery import Trained, train_with_recovery
from embexp.finetuning.training_rows import Rows
from embexp.progress import Bar, progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)


class _Trainer(GradientTrainer):
    """The trainer of rank 0: planned batches, callbacks, checkpoints without pickled weights."""

    def __init__(self, *, plan: BatchPlan, context: TrainingContext, bar: Bar, **arguments: Any) -> None:
        self._plan = plan
        self.checkpointing = Checkpointing(context)
        self.evaluation = DevEvaluation(context)
        self._watch = DivergenceWatch(context, self.checkpointing)
        # In this order, weights are checked before they are scored, and scored before they are saved.
        order = [self._watch, self.evaluation, EarlyStopping(context), self.checkpointing]
        super().__init__(callbacks=[Logging(context, bar), *order], **arguments)
        self.remove_callback(PrinterCallback)

    def get_batch_sampler(self, *_: Any, **__: Any) -> PlannedBatchSampler:
        """Return the planned batches."""
        return PlannedBatchSampler(self._plan)

    def training_step(self, model: Any, inputs: Any, *arguments: Any) -> torch.Tensor:
        """Run one step.

        Raises:
            DivergenceError: The loss is not finite or has risen far.
        """
        step = self.state.global_step
        batch = self._plan.batch(step)
        if self._group is not None:
            weights = [value for value in model.parameters() if value.requires_grad]
            announce_step(self._group, weights + loss_weights(self.loss, model), batch, step=step)
        loss = self.gradients(model, inputs, batch, *arguments)
        self._watch.on_loss(loss.item(), step + 1)
        return loss

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            _set_peak(self.optimizer, self.lr_scheduler, self.args.learning_rate)

    def _save(self, output_dir: str | None = None, state_dict: object = None) -> None:  # noqa: ARG002
        save_checkpoint(Path(output_dir or self.args.output_dir), self.model, self.loss)

    def _load_from_checkpoint(self, checkpoint_path: str, model: object = None) -> None:  # noqa: ARG002
        load_checkpoint(Path(checkpoint_path), self.model, self.loss)


def _set_peak(optimizer: Any, scheduler: Any, peak: float) -> None:
    """Continue with another peak learning rate than that of the checkpoint."""
    scheduler = getattr(scheduler, "scheduler", scheduler)
    if all(base == peak for base in scheduler.base_lrs):
        return
    scheduler.base_lrs = [peak] * len(scheduler.base_lrs)
    rates = [peak * factor(scheduler.last_epoch) for factor in scheduler.lr_lambdas]
    scheduler._last_lr = rates
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["initial_lr"], group["lr"] = peak, rate


@dataclass(frozen=True, kw_only=True)
class TrainingLoop:
    """Trains a model from its newest checkpoint, or from the start, to the best weights on dev.

    Args:
        context: Settings, log, checkpoints, dev evaluation.
        model: The model, with untuned weights.
        loss: The loss.
        rows: The training rows.
        plan: Their batches.
        seed: Fixes the weights that the method and the loss add, and dropout.
        group: The processes that share each batch; None for a single process.
    """

    context: TrainingContext
    model: SentenceTransformer
    loss: Loss
    rows: Rows
    plan: BatchPlan
    seed: int
    group: ProcessGroup | None = None

    def run(self) -> Trained:
        """Train; on return the model holds the best trained weights on dev.

        Raises:
            ConfigError: The loss does not support the model, or dev has no such metric.
            ModelError: Training diverged, or ran out of memory, as often as it may.
        """
        context, method = self.context, self.context.settings.method or Full()
        warn_of_batch_memory(
            self.model,
            self.rows,
            rows_at_once=getattr(self.loss, "mini_batch_size", context.settings.batch_size),
            max_tokens=context.settings.max_tokens,
        )

        def train(begin: int | None) -> float:
            if self.group is not None:
                size = context.recovery.mini_batch_size
                announce_try(self.group, self.model, mini_batch_size=size)
            torch.manual_seed(self.seed)  # whatever was drawn before, a method's own weights are the same
            with method.training(self.model), progress("Training", total=self._steps) as bar:
                return self._train(self._trainer(bar), begin)

        return train_with_recovery(
            train,
            model=self.model,
            checkpoints=context.checkpoints,
            recovery=context.recovery,
            training_log=context.training_log,
        )

    @property
    def _steps(self) -> int:
        return self.plan.steps * self.context.settings.epochs

    def _trainer(self, bar: Bar) -> _Trainer:
        settings, recovery = self.context.settings, self.context.recovery
        module = build_loss(
            self.loss,
            self.model,
            outputs=self.rows.outputs,
            seed=self.seed,
            batch_size=settings.batch_size,
            mini_batch_size=recovery.mini_batch_size,
        )
        arguments = training_arguments(
            settings,
            self.model,
            self.rows,
            folder=self.context.checkpoints.folder,
            steps=self._steps,
            seed=self.seed,
            learning_rate=recovery.current_rate,
        )
        return _Trainer(
            plan=self.plan,
            context=self.context,
            bar=bar,
            group=self.group,
            bf16=trains_in_bf16(settings, self.model),
            model=self.model,
            loss=module,
            args=arguments,
            train_dataset=self.rows.dataset(),
        )

    def _train(self, trainer: _Trainer, begin: int | None) -> float:
        """Train to the end, leave the best trained weights in the model, and return rows per second."""
        checkpoints, folder = self.context.checkpoints, None
        if begin is not None:
            folder = str(checkpoints.path(begin))
            log.info("Training resumes from step %d (%s).", begin, folder)
        elif self.context.evaluates_after(0, total=self._steps):
            trainer.evaluation.score(self.model, 0)
        start, trainer.evaluation.seconds = time.monotonic(), 0.0
        trainer.train(resume_from_checkpoint=folder)
        busy = time.monotonic() - start - trainer.evaluation.seconds - trainer.checkpointing.seconds
        self.model.zero_grad(set_to_none=True)
        self.model.eval()
        steps, best = trainer.state.global_step, self.context.training_log.progress.best_step
        if best is not None and best != steps:
            checkpoints.load_best(best, self.model)
        return round(self.plan.rows(begin or 0, steps) / busy, 3) if busy > 0 else 0.0
