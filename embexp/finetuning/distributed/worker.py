"""A worker: a process that computes its share of the gradients, as rank 0 directs, and writes nothing.

This module imports torch at its top; it is itself imported only when a worker starts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import torch

from embexp.finetuning.batch_sampler import RowKeys
from embexp.finetuning.checkpoints import loss_weights
from embexp.finetuning.distributed.gradients import GradientTrainer, training_arguments, trains_in_bf16
from embexp.finetuning.distributed.process_group import STEP, TRAINING, TRY, Message, ProcessGroup
from embexp.finetuning.losses.loss import Loss
from embexp.finetuning.losses.mini_batches import build_loss
from embexp.finetuning.model_modes import dropout_rates, training_length
from embexp.finetuning.new_tokens import add_tokens
from embexp.finetuning.parameter_efficient import Full, Method
from embexp.finetuning.recovery import free_memory, is_out_of_memory
from embexp.finetuning.settings import TrainerSettings
from embexp.finetuning.training_rows import Rows
from embexp.models.forward_pass import text_length
from embexp.models.routes import encoder_of
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import nn


def run_worker(
    group: ProcessGroup,
    settings: TrainerSettings,
    loss: Loss,
    load: Callable[[], SentenceTransformer],
) -> None:
    """Take part in the trainings of rank 0 until its command ends.

    Args:
        group: The processes.
        settings: The trainer's settings; they must be those of rank 0.
        loss: The loss; it must be that of rank 0.
        load: Loads the untuned model.

    Raises:
        ProcessLostError: Another process is gone.
    """
    with tempfile.TemporaryDirectory() as scratch:
        worker = _Worker(group=group, settings=settings, loss=loss, load=load, scratch=Path(scratch))
        message = group.receive()
        while message[0]["kind"] == TRAINING:
            message = worker.train(*message)


@dataclass(frozen=True, kw_only=True)
class _Worker:
    """A worker. Each method handles one kind of message, and returns the first one of another kind."""

    group: ProcessGroup
    settings: TrainerSettings
    loss: Loss
    load: Callable[[], SentenceTransformer]
    scratch: Path

    def train(self, training: dict[str, Any], data: bytes) -> Message:
        """Take part in one training."""
        columns = pa.ipc.open_stream(data).read_all().to_pydict()
        keys = [RowKeys()] * len(next(iter(columns.values())))
        rows = Rows(columns=columns, keys=keys, outputs=training["outputs"])
        settings, model = self.settings, self.load()
        method: Method = settings.method or Full()
        if training["new_tokens"]:
            add_tokens(model, training["new_tokens"])
        method.extend(model)
        if training["loanwords"]:
            add_tokens(encoder_of(model, "query"), training["loanwords"])
        message = self.group.receive()
        with (
            dropout_rates(model, dropout=settings.dropout, attention_dropout=settings.attention_dropout),
            text_length(model, training_length(model, settings.max_tokens)),
        ):
            while message[0]["kind"] == TRY:
                self.group.broadcast(model.state_dict().values())
                with method.training(model):
                    message = self._try(model, rows, training, message[0]["mini_batch_size"])
        return message

    def _try(
        self, model: SentenceTransformer, rows: Rows, training: dict[str, Any], mini_batch_size: int | None
    ) -> Message:
        """Compute the gradients of one try, step by step."""
        seed, settings = training["seed"], self.settings
        module = build_loss(
            self._loss(training["loss"]),
            model,
            outputs=rows.outputs,
            seed=seed,
            batch_size=settings.batch_size,
            mini_batch_size=mini_batch_size,
        )
        arguments = training_arguments(
            settings,
            model,
            rows,
            folder=self.scratch,
            steps=training["steps"],
            seed=seed,
            learning_rate=settings.learning_rate,
        )
        trainer = GradientTrainer(
            group=self.group,
            bf16=trains_in_bf16(settings, model),
            model=model,
            loss=module,
            args=arguments,
            train_dataset=rows.dataset(),
        )
        weights = [value for value in model.parameters() if value.requires_grad]
        weights += loss_weights(module, model)
        message = self.group.receive()
        while message[0]["kind"] == STEP:
            self.group.broadcast(weights)
            self._step(trainer, module, message[0], seed)
            message = self.group.receive()
        return message

    def _loss(self, announced: str) -> Loss:
        """Return the loss that rank 0 trains with: its teacher's gate may have chosen the other one."""
        fallback = self.loss.fallback
        return fallback if fallback is not None and repr(fallback) == announced else self.loss

    def _step(self, trainer: GradientTrainer, module: nn.Module, step: dict[str, Any], seed: int) -> None:
        """Add this process's gradients to those of rank 0, which also handles a lack of memory."""
        # Seeded for each step, dropout does not depend on where a training was interrupted.
        torch.manual_seed(int(sha256_of(seed, step["step"], self.group.rank)[:15], 16))
        module.zero_grad(set_to_none=True)
        inputs = trainer.data_collator([trainer.train_dataset[at] for at in step["batch"]])
        try:
            trainer.gradients(trainer.model, inputs, step["batch"])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            free_memory(module)
