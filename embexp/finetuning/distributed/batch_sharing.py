"""One batch over several processes: each embeds its share of the rows, and every loss sees all of them.

The loss itself is unchanged. It gets the embeddings of the whole batch, of which only the process's own
carry gradients; the gradients of all processes add up to those of a single process (a sum over the rows, as
in GradCache, arXiv 2101.06983). So whatever a loss compares within a batch, it compares across processes:
in-batch negatives, a guide's scores, the order of labels.

This module imports torch at its top; it is itself imported only when training starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from embexp.finetuning.distributed.process_group import ProcessGroup, shard


@dataclass(frozen=True)
class SharingCollator:
    """Collates this process's share of the rows, with the labels of all rows.

    Args:
        inner: sentence-transformers' collator.
        group: The processes.
    """

    inner: Any
    group: ProcessGroup

    @property
    def valid_label_columns(self) -> list[str]:
        """The names of columns that are labels."""
        names: list[str] = self.inner.valid_label_columns
        return names

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the tensors of the share; if it is empty, those of a row that is left out later."""
        shares = shard(rows, self.group.size)
        batch: dict[str, Any] = self.inner(shares[self.group.rank] or rows[:1])
        if "label" in batch:
            name = next(name for name in self.valid_label_columns if name in rows[0])
            batch["label"] = torch.tensor([row[name] for share in shares for row in share])
        return batch


@contextmanager
def whole_batches(loss: nn.Module, group: ProcessGroup, sizes: Sequence[int]) -> Iterator[None]:
    """Let a loss see all rows of a batch within the block.

    Losses that embed in mini-batches (GradCache) get all rows when they compute the loss; all others
    whenever they, or their guide, embed.

    Args:
        loss: The loss over this process's share.
        group: The processes.
        sizes: How many rows of the batch each process has.
    """
    cached = [module for module in loss.modules() if hasattr(module, "calculate_loss")]
    if cached:
        with _all_rows_in_loss(cached[0], group, sizes):
            yield
        return

    def gathered(module: nn.Module, inputs: object, output: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001
        return {**output, "sentence_embedding": group.gather(output["sentence_embedding"], sizes)}

    models = [module for module in loss.modules() if isinstance(module, SentenceTransformer)]
    hooks = [model.register_forward_hook(gathered) for model in models]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _all_rows_in_loss(module: Any, group: ProcessGroup, sizes: Sequence[int]) -> Iterator[None]:
    compute = module.calculate_loss

    def whole(columns: list[list[torch.Tensor]]) -> list[list[torch.Tensor]]:
        return [[group.gather(torch.cat(mini_batches), sizes)] for mini_batches in columns]

    def gathered(*arguments: Any, **options: Any) -> Any:
        return compute(*(whole(each) if isinstance(each, list) else each for each in arguments), **options)

    module.calculate_loss = gathered
    try:
        yield
    finally:
        module.calculate_loss = compute
