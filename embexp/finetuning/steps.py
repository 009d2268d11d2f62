"""One training step with sentence-transformers' trainer: alone, or each process its share of the batch.

This file imports torch and transformers at its top, because it derives a class from theirs; it is
itself imported only when training starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import torch
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.losses.merged_forward import column_merging_disabled

from embexp.finetuning.dropout import quick_dropout
from embexp.finetuning.faults import out_of_memory
from embexp.finetuning.model_modes import attention, training_attention
from embexp.finetuning.sharing import SharingCollator, whole_batches
from embexp.finetuning.team import PeerShortageError, Team, shares


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
