"""The training loop: sentence-transformers' trainer with our batches, checkpoints and dev evaluations.

This file imports torch and transformers at its top, because it derives classes from theirs; it is
itself imported only when training starts.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.losses.merged_forward import column_merging_disabled
from transformers import PrinterCallback, TrainerCallback

from embexp.errors import ConfigError, ModelError
from embexp.finetuning.batches import BatchPlan
from embexp.finetuning.checkpoints import WEIGHTS, Checkpoints, Progress, load_weights, save_weights
from embexp.progress import Bar
from embexp.types import Training, TrainingStep

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
    from torch import nn

    from embexp.finetuning.columns import Rows

log = logging.getLogger(__name__)
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
        evaluate: Scores the model on dev.
        metric: The dev metric that decides.
        patience: After how many evaluations without gain to stop; None never stops early.
        checkpoint_seconds: The longest time between two checkpoints.
        on_step: Told of each point of the log.
        bar: Told of each step.
    """

    checkpoints: Checkpoints
    schedule: frozenset[int]
    evaluate: Callable[[SentenceTransformer], Mapping[str, float]]
    metric: str
    patience: int | None
    checkpoint_seconds: float
    on_step: Callable[[TrainingStep], None]
    bar: Bar
    progress: Progress = field(default_factory=Progress)
    paused: float = 0.0
    _saved_at: float = field(default_factory=time.monotonic)

    def restore(self, progress: Progress, step: int) -> None:
        """Take up the log and the best score where a checkpoint left them."""
        self.progress = progress
        for point in progress.history:
            self.on_step(point)
        self.bar.advance(step)

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
        metrics = self.evaluate(model)
        if self.metric not in metrics:
            raise ConfigError(
                f"trainer.metric={self.metric}: the dev evaluation gives "
                f"{', '.join(sorted(metrics)) or 'nothing'}; choose one of these."
            )
        self.record(step, {f"dev_{name}": float(value) for name, value in metrics.items()})
        score = float(metrics[self.metric])
        if self.progress.best_score is None or score > self.progress.best_score:
            self.checkpoints.save_best(step, model)
            self.progress.best_step, self.progress.best_score, self.progress.without_gain = step, score, 0
        else:
            self.progress.without_gain += 1
        log.info("Step %d: dev %s %.4f (best %.4f)", step, self.metric, score, self.progress.best_score)
        self.paused += time.monotonic() - start

    def on_step_end(self, args: Any, state: Any, control: Any, **surroundings: Any) -> None:  # noqa: ARG002
        """Score, stop and save when it is time to."""
        self.bar.advance()
        step, last = state.global_step, state.global_step >= state.max_steps
        if step in self.schedule:
            self.score(surroundings["model"], step)
            if self.patience is not None and self.progress.without_gain >= self.patience:
                log.info("No gain on dev in %d evaluations: training stops at step %d.", self.patience, step)
                control.should_training_stop = True
        due = step in self.schedule or time.monotonic() - self._saved_at >= self.checkpoint_seconds
        control.should_save = due and not last and not control.should_training_stop

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:  # noqa: ARG002
        """Take over the loss, the learning rate and the gradient's norm."""
        if "loss" in logs:
            self.record(state.global_step, {name: float(logs[name]) for name in LOGGED if name in logs})
            self.bar.note(f"loss {logs['loss']:.3f}")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Mark the checkpoint as whole."""
        self.checkpoints.complete(state.global_step, self.progress)
        self._saved_at = time.monotonic()


class Loop(SentenceTransformerTrainer):  # type: ignore[misc]
    """The trainer of sentence-transformers, with planned batches and lean, pickle-free checkpoints."""

    def __init__(self, *, plan: BatchPlan, recorder: Recorder, **arguments: Any) -> None:
        self._plan = plan
        self._recorder = recorder
        super().__init__(callbacks=[recorder], **arguments)

    def get_batch_sampler(self, *_: Any, **__: Any) -> PlannedBatches:
        """Return our own batches."""
        return PlannedBatches(self._plan)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leave out the automatic model card: it quotes training data and asks the Hub for the base."""

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        """Embed each column by itself on a CPU: together, queries are padded to the passages' length."""
        if self.args.device.type != "cpu":
            return super().compute_loss(model, inputs, *arguments, **options)
        with column_merging_disabled():
            return super().compute_loss(model, inputs, *arguments, **options)

    def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
        """Run one step.

        Raises:
            ModelError: The loss is not a finite number.
        """
        loss: torch.Tensor = super().training_step(*arguments, **options)
        if not math.isfinite(loss.item()):
            raise ModelError(
                f"The loss became {loss.item()} at step {self.state.global_step + 1} with a learning rate of "
                f"{self._get_learning_rate():.1e} (trainer.learning_rate={self.args.learning_rate:g}): set a "
                "lower one, and check the labels if the loss reads scores."
            )
        return loss

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        start = time.monotonic()
        super()._save_checkpoint(*arguments, **options)
        self._recorder.paused += time.monotonic() - start

    def _save(self, output_dir: str | None = None, state_dict: object = None) -> None:  # noqa: ARG002
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(folder / WEIGHTS, self.model)

    def _load_from_checkpoint(self, checkpoint_path: str, model: object = None) -> None:  # noqa: ARG002
        load_weights(Path(checkpoint_path) / WEIGHTS, self.model)


def run(
    model: SentenceTransformer,
    loss: nn.Module,
    rows: Rows,
    plan: BatchPlan,
    arguments: SentenceTransformerTrainingArguments,
    recorder: Recorder,
    *,
    started: float,
) -> Training:
    """Train from the newest checkpoint, or from the start, and leave the best weights in the model.

    Args:
        model: The untuned model; a checkpoint's weights replace its own.
        loss: The loss over ``model``.
        rows: The training rows.
        plan: Their batches.
        arguments: The settings of sentence-transformers' trainer.
        recorder: Holds the log and the checkpoints.
        started: When the work on this call began, by the monotonic clock.
    """
    trainer = Loop(
        plan=plan, recorder=recorder, model=model, loss=loss, args=arguments, train_dataset=rows.dataset()
    )
    trainer.remove_callback(PrinterCallback)
    found = recorder.checkpoints.latest()
    if found is not None:
        folder, earlier, resumed_from = found
        log.info("Training goes on from step %d (%s).", resumed_from, folder)
        recorder.restore(earlier, resumed_from)
    elif 0 in recorder.schedule:
        recorder.score(model, 0)
    begin, recorder.paused = time.monotonic(), 0.0
    trainer.train(resume_from_checkpoint=str(found[0]) if found is not None else None)
    seconds = time.monotonic() - begin - recorder.paused
    model.zero_grad(set_to_none=True)
    model.eval()
    return _conclude(model, trainer, plan, recorder, resumed_from=found[2] if found else None, busy=seconds,
                     seconds=time.monotonic() - started, rows=len(rows))  # fmt: skip


def _conclude(
    model: SentenceTransformer,
    trainer: Loop,
    plan: BatchPlan,
    recorder: Recorder,
    *,
    resumed_from: int | None,
    busy: float,
    seconds: float,
    rows: int,
) -> Training:
    steps, best = trainer.state.global_step, recorder.progress.best_step
    sizes = [len(batch) for epoch in plan.epochs for batch in epoch][resumed_from or 0 : steps]
    training = Training(
        pairs=rows,
        steps=steps,
        seconds=round(seconds, 3),
        pairs_per_second=round(sum(sizes) / busy, 3) if busy > 0 else 0.0,
        resumed_from=resumed_from,
        best_step=best,
        history=tuple(recorder.progress.history),
    )
    if best is None:
        recorder.checkpoints.save_best(steps, model)
    elif best != steps:
        recorder.checkpoints.load_best(best, model)
    if best == 0:
        log.warning("No step scored above the untuned model on dev: its weights stay.")
    recorder.checkpoints.finish(training, weights_step=steps if best is None else best)
    return training
