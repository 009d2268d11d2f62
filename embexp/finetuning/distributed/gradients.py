"""The part of the trainer that rank 0 and the workers share: the loss of a batch and its gradients.

This module imports torch and transformers at its top, because its class derives from theirs; it is itself
imported only when training starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.losses.merged_forward import column_merging_disabled

from embexp.finetuning.cpu import fast_dropout
from embexp.finetuning.distributed.batch_sharing import SharingCollator, whole_batches
from embexp.finetuning.distributed.process_group import ProcessGroup, WorkerOutOfMemoryError, shard
from embexp.finetuning.model_modes import prompts_for, routes_for
from embexp.finetuning.recovery import is_out_of_memory
from embexp.finetuning.settings import TrainerSettings
from embexp.finetuning.training_rows import QUERY_COLUMNS, Rows
from embexp.models.forward_pass import attention, in_bf16
from embexp.models.packing import can_pack, packed_texts
from embexp.models.precision import has_bf16

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_POINTS_IN_LOG = 100


def training_arguments(
    settings: TrainerSettings,
    model: SentenceTransformer,
    rows: Rows,
    *,
    folder: Path,
    steps: int,
    seed: int,
    learning_rate: float,
) -> SentenceTransformerTrainingArguments:
    """Return the arguments of sentence-transformers' trainer.

    Args:
        settings: Our settings; ``learning_rate`` replaces theirs.
        model: The model, for its prompts and routes.
        rows: The training rows, for their columns.
        folder: Where checkpoints go.
        steps: The steps of all epochs.
        seed: Fixes dropout.
        learning_rate: The peak of the schedule.
    """
    columns = list(rows.columns)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=learning_rate,
        lr_scheduler_type=settings.lr_scheduler_type,
        warmup_steps=settings.warmup_ratio,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        use_cpu=model.device.type == "cpu",
        prompts=prompts_for(model, columns, query_columns=QUERY_COLUMNS) or None,
        router_mapping=routes_for(model, columns, query_columns=QUERY_COLUMNS) or None,
        seed=seed,
        logging_steps=max(1, steps // _POINTS_IN_LOG),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    # With several visible GPUs, the library would replicate the model on each of them (DataParallel).
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def trains_in_bf16(settings: TrainerSettings, model: SentenceTransformer) -> bool:
    """Return whether a training computes in mixed precision."""
    return has_bf16(model.device.type) if settings.bf16 is None else settings.bf16


class GradientTrainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """The part of the trainer that rank 0 and workers share: the loss of a batch and its gradients.

    The library's own mixed precision is not used: it replaces the model's ``forward`` for good, for all that
    is encoded between steps and afterwards, and a model that it has prepared once it does not prepare again.

    Args:
        group: The processes that share each batch; None for a single process.
        bf16: Whether the model computes in mixed precision.
    """

    def __init__(self, *, group: ProcessGroup | None, bf16: bool, **arguments: Any) -> None:
        self._group = group
        self._bf16 = bf16
        self._sizes: list[int] = []
        super().__init__(**arguments)
        self.current_gradient_accumulation_steps = 1
        if group is not None:
            self.data_collator: Any = SharingCollator(self.data_collator, group)

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Leave out the automatic model card: it quotes training data and queries the Hub for the base."""

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        """Embed each column by itself on a CPU: together, queries are padded to the passages' length.

        Columns that several processes gather must stay apart, too.
        """
        with ExitStack() as stack:
            if self._group is not None or self.args.device.type == "cpu":
                stack.enter_context(column_merging_disabled())
            if self._group is not None:
                stack.enter_context(whole_batches(self.loss, self._group, self._sizes))
            return super().compute_loss(model, inputs, *arguments, **options)

    def gradients(self, model: Any, inputs: Any, batch: Sequence[int], *arguments: Any) -> torch.Tensor:
        """Compute the loss of a batch and its gradients; those of all processes are summed at rank 0.

        Args:
            model: The model.
            inputs: The collated batch.
            batch: The rows of the whole batch.
            arguments: Further arguments of the library's ``training_step``.

        Returns:
            The loss of the whole batch.
        """
        with ExitStack() as stack:
            if self.args.device.type == "cpu":
                stack.enter_context(self._attention())
                stack.enter_context(fast_dropout())
            if self._bf16:
                stack.enter_context(in_bf16(self.model))
            return self._gradients(model, inputs, batch, *arguments)

    def _attention(self) -> AbstractContextManager[object]:
        """Compute without padding where the model allows it.

        The backward pass of the fused kernel takes several times as long as that of plain matrix products,
        at the text lengths of training.
        """
        return packed_texts(self.model) if can_pack(self.model) else attention(self.model, "eager")

    def _gradients(self, model: Any, inputs: Any, batch: Sequence[int], *arguments: Any) -> torch.Tensor:
        if self._group is None:
            loss: torch.Tensor = super().training_step(model, inputs, *arguments)
            return loss
        self._sizes = [len(share) for share in shard(batch, self._group.size)]
        try:
            loss = super().training_step(model, inputs, *arguments)
            trained = (value for value in model.parameters() if value.requires_grad)
            self._group.reduce(value.grad for value in trained if value.grad is not None)
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error) and not isinstance(error, WorkerOutOfMemoryError):
                self._group.check_memory(exhausted=True)
            raise
        return loss
