"""Callbacks of the training loop, one concern each.

This module imports transformers at its top, because its classes derive from ``TrainerCallback``; it is
itself imported only when training starts.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from embexp.errors import ConfigError
from embexp.finetuning.context import TrainingContext
from embexp.finetuning.recovery import DivergenceError, check_loss_level
from embexp.finetuning.training import question_scores
from embexp.progress import Bar

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

_LOGGED = ("loss", "learning_rate", "grad_norm")


class Logging(TrainerCallback):  # type: ignore[misc]
    """Records loss, learning rate and gradient norm, and moves the progress bar."""

    def __init__(self, context: TrainingContext, bar: Bar) -> None:
        self._log, self._bar, self._shown = context.training_log, bar, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar to the step that training starts from."""
        self._show(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count the step."""
        self._log.step = state.global_step
        self._show(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
        """Record a point of the log."""
        if "loss" in logs:
            metrics = {name: float(logs[name]) for name in _LOGGED if name in logs}
            self._log.record(state.global_step, metrics)
            self._bar.note(f"loss {logs['loss']:.3f}")

    def _show(self, step: int) -> None:
        self._bar.advance(step - self._shown)
        self._shown = step


class DevEvaluation(TrainerCallback):  # type: ignore[misc]
    """Scores the model on dev at evenly spread steps, and keeps the best trained weights.

    ``seconds`` is the time that this took.
    """

    def __init__(self, context: TrainingContext) -> None:
        self._context, self.seconds = context, 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        """Score the model if it is time to."""
        if self._context.evaluates_after(state.global_step, total=state.max_steps):
            self.score(model, state.global_step)

    def score(self, model: SentenceTransformer, step: int) -> None:
        """Score the model on dev, and keep its weights if they are the best so far.

        Raises:
            ConfigError: The metric that decides is not among the dev metrics.
        """
        start, metric = time.monotonic(), self._context.settings.metric
        training_log = self._context.training_log
        metrics = self._context.evaluate(model, is_untuned=step == 0)
        if metric not in metrics:
            raise ConfigError(
                f"trainer.metric={metric}: the dev evaluation gives "
                f"{', '.join(sorted(metrics)) or 'nothing'}; choose one of these."
            )
        training_log.record(step, {f"dev_{name}": float(value) for name, value in metrics.items()})
        score, progress = float(metrics[metric]), training_log.progress
        earlier = [value for value in (progress.untuned_score, progress.best_score) if value is not None]
        progress.without_gain = 0 if score > max(earlier, default=-math.inf) else progress.without_gain + 1
        if step == 0:
            progress.untuned_score, progress.untuned_questions = score, question_scores(metrics, metric)
        elif progress.best_score is None or score > progress.best_score:
            self._context.checkpoints.save_best(step, model)
            progress.best_step, progress.best_score = step, score
            progress.best_questions = question_scores(metrics, metric)
        log.info("Step %d: dev %s %.4f (best %.4f)", step, metric, score, max([score, *earlier]))
        self.seconds += time.monotonic() - start


class EarlyStopping(TrainerCallback):  # type: ignore[misc]
    """Stops after ``trainer.patience`` dev evaluations without improvement."""

    def __init__(self, context: TrainingContext) -> None:
        self._context = context

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop training if it is time to."""
        step, patience = state.global_step, self._context.settings.patience
        if patience is None or not self._context.evaluates_after(step, total=state.max_steps):
            return
        if self._context.training_log.progress.without_gain >= patience:
            log.info("No gain on dev in %d evaluations: training stops at step %d.", patience, step)
            control.should_training_stop = True


class Checkpointing(TrainerCallback):  # type: ignore[misc]
    """Saves a checkpoint after each dev evaluation, and whenever ``trainer.checkpoint_seconds`` have passed.

    ``seconds`` is the time that this took.
    """

    def __init__(self, context: TrainingContext) -> None:
        self._context, self.seconds = context, 0.0
        self._saved_at = self._started = time.monotonic()
        self._decided = (-1, False)

    def due(self, state: Any) -> bool:
        """Say whether a checkpoint is due; the answer for a step does not change."""
        step = state.global_step
        if self._decided[0] != step:
            overdue = time.monotonic() - self._saved_at >= self._context.settings.checkpoint_seconds
            self._decided = (step, overdue or self._context.evaluates_after(step, total=state.max_steps))
        return self._decided[1]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Request a checkpoint, unless training ends here."""
        control.should_save = self.due(state) and not control.should_training_stop
        self._started = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint as complete."""
        self._context.checkpoints.complete(state.global_step, self._context.training_log.progress)
        self._saved_at = time.monotonic()
        self.seconds += self._saved_at - self._started


class DivergenceWatch(TrainerCallback):  # type: ignore[misc]
    """Ends a try whose loss or weights are not finite, or whose loss rises far."""

    def __init__(self, context: TrainingContext, checkpointing: Checkpointing) -> None:
        self._context, self._checkpointing = context, checkpointing

    def on_loss(self, loss: float, step: int) -> None:
        """Check the loss of a step; the training loop calls this, as transformers has no such hook.

        Raises:
            DivergenceError: The loss is not finite or has risen far.
        """
        if not math.isfinite(loss):
            raise DivergenceError(f"The loss became {loss} at step {step}", step=step)
        if self._context.recovery.retries_left:
            check_loss_level(self._context.training_log.progress, loss, step=step)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        """Check the weights before they are scored or saved.

        Raises:
            DivergenceError: One is not finite.
        """
        if self._checkpointing.due(state) or state.global_step >= state.max_steps:
            trained = (parameter for parameter in model.parameters() if parameter.requires_grad)
            if not all(bool(torch.isfinite(parameter).all()) for parameter in trained):
                step = state.global_step
                raise DivergenceError(f"The weights became nan or infinite at step {step}", step=step)
