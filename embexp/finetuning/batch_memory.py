"""How much memory training takes on a CPU, said beforehand: a system may end a process without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embexp.memory import warn_of_memory
from embexp.models.forward_pass import transformer_modules

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.finetuning.training_rows import Rows

_CHARACTERS_PER_TOKEN = 4
_FLOAT = 4
_STATES = 3
"""Numbers beside each weight that the optimizer changes: its gradient, and AdamW's two moments."""
_OF_HIDDEN, _OF_INNER = 16, 6
"""Numbers that a layer takes for a token until the backward pass, in multiples of its two sizes: some 360 KB
for each token of MiniLM, as measured with batches of 4,096 to 16,384 tokens."""


def warn_of_batch_memory(
    model: SentenceTransformer, rows: Rows, *, rows_at_once: int, max_tokens: int | None
) -> None:
    """Log a warning if training on a CPU is going to need more memory than this process may take.

    Args:
        model: The model to train.
        rows: What it is trained on.
        rows_at_once: How many of them are computed at a time.
        max_tokens: Where longer texts are cut off; None for the model's own limit.
    """
    if model.device.type != "cpu":
        return
    warn_of_memory(
        batch_memory(model, rows, rows_at_once=rows_at_once, max_tokens=max_tokens),
        f"Training on {rows_at_once} rows at a time",
        "if the system ends this process, give it more memory, take a smaller trainer.batch_size or "
        "trainer.max_tokens, or compute the same batches in parts (loss=cached_mnrl)",
    )


def batch_memory(model: SentenceTransformer, rows: Rows, *, rows_at_once: int, max_tokens: int | None) -> int:
    """Return about how many bytes a step takes beside the model: activations, gradients, optimizer states."""
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    tokens = rows_at_once * _tokens_of_a_row(rows, max_tokens or model.max_seq_length)
    sizes = [_numbers_of_a_token(module.auto_model.config) for module in transformer_modules(model)]
    return int((_STATES * trained + tokens * max(sizes, default=0)) * _FLOAT)


def _tokens_of_a_row(rows: Rows, limit: int | None) -> float:
    """Return about how many tokens a row's texts have together, each cut at ``limit``."""
    total = 0.0
    for column in rows.columns.values():
        texts = [text for text in column if isinstance(text, str)]
        lengths = (len(text) / _CHARACTERS_PER_TOKEN + 2 for text in texts)
        total += sum(min(length, limit or length) for length in lengths) / max(len(texts), 1)
    return total


def _numbers_of_a_token(config: object) -> int:
    """Return how many numbers a transformer keeps of a token until the backward pass; 0 where unknown."""
    layers, hidden = (getattr(config, name, 0) for name in ("num_hidden_layers", "hidden_size"))
    inner = getattr(config, "intermediate_size", 4 * hidden)
    return int(layers * (_OF_HIDDEN * hidden + _OF_INNER * inner))
