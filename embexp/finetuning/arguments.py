"""Our settings as those of sentence-transformers' trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from embexp.finetuning.model_modes import prompts_for, routes_for
from embexp.finetuning.rows import QUERY_COLUMNS, Rows

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments

    from embexp.finetuning.trainer import SentenceTransformerFineTuner

POINTS_IN_LOG = 100


def training_arguments(
    settings: SentenceTransformerFineTuner,
    model: SentenceTransformer,
    rows: Rows,
    *,
    folder: Path,
    steps: int,
    seed: int,
    learning_rate: float,
) -> SentenceTransformerTrainingArguments:
    """Return the arguments of a training; ``learning_rate`` stands for the one in ``settings``.

    Args:
        settings: Our settings.
        model: The model, for its prompts and routes.
        rows: The training rows, for their columns.
        folder: Where checkpoints go.
        steps: The steps of all epochs.
        seed: Of dropout.
        learning_rate: The peak of the schedule.
    """
    import torch
    from sentence_transformers import SentenceTransformerTrainingArguments

    cuda, columns = torch.cuda.is_available(), list(rows.columns)
    return SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup_ratio,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=mixed_precision(model.device.type) if settings.bf16 is None else settings.bf16,
        use_cpu=model.device.type == "cpu",
        prompts=prompts_for(model, columns, query_columns=QUERY_COLUMNS) or None,
        router_mapping=routes_for(model, columns, query_columns=QUERY_COLUMNS) or None,
        seed=seed,
        logging_steps=max(1, steps // POINTS_IN_LOG),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=cuda,
    )


def mixed_precision(device: str) -> bool:
    """Say whether a device multiplies bf16 matrices in hardware: a GPU of today, or a CPU with such units.

    On a CPU with avx512_bf16 or AMX a product of bf16 matrices is more than twice as quick as one of
    float32; weights, gradients and the optimizer stay float32 (Micikevicius et al. 2018, arXiv 1710.03740).
    """
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    units = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device == "cpu" and bool(units)
