"""How a model is configured while it trains: text length, dropout, prompts and routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from embexp.models.folder import passage_prompt
from embexp.models.routes import has_two_encoders

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_ATTENTION_RATES = ("attention_dropout", "attn_dropout", "attention_probs_dropout_prob")


def training_length(model: SentenceTransformer, tokens: int | None) -> int | None:
    """Return the text length of training: ``tokens`` if the model reads more, else None for its own limit."""
    own = model.max_seq_length
    return tokens if tokens is not None and isinstance(own, int) and own > tokens else None


@contextmanager
def dropout_rates(
    model: SentenceTransformer, *, dropout: float | None, attention_dropout: float | None
) -> Iterator[None]:
    """Set the dropout of hidden states and of attention weights within the block; None keeps the model's own.

    Modules that drop attention weights have a class name ending in ``SelfAttention`` (BERT and relatives)
    or hold the rate as a number (``attention_dropout``, as in ModernBERT).
    """
    changed: list[tuple[object, str, object]] = []
    for owner, name, rate in _rates(model, dropout=dropout, attention_dropout=attention_dropout):
        changed.append((owner, name, getattr(owner, name)))
        setattr(owner, name, rate)
    try:
        yield
    finally:
        for owner, name, value in changed:
            setattr(owner, name, value)


def _rates(
    model: SentenceTransformer, *, dropout: float | None, attention_dropout: float | None
) -> Iterator[tuple[object, str, float]]:
    from torch import nn

    for module in list(model.modules()):
        for name in _ATTENTION_RATES:
            if attention_dropout is not None and isinstance(getattr(module, name, None), float):
                yield module, name, attention_dropout
        of_attention = "SelfAttention" in type(module).__name__
        rate = attention_dropout if of_attention else dropout
        for child in module.children():
            if isinstance(child, nn.Dropout) and rate is not None:
                yield child, "p", rate


def prompts_for(
    model: SentenceTransformer, columns: Sequence[str], *, query_columns: Sequence[str]
) -> dict[str, str]:
    """Return the model's prompt for each text column: that of queries, or that of passages."""
    prompts = model.prompts or {}
    passage = passage_prompt(prompts)
    chosen = {name: prompts.get("query") or "" if name in query_columns else passage for name in columns}
    return {name: prompt for name, prompt in chosen.items() if prompt}


def routes_for(
    model: SentenceTransformer, columns: Sequence[str], *, query_columns: Sequence[str]
) -> dict[str, str]:
    """Return the route of each column for a model with a ``Router``; empty for others."""
    if not has_two_encoders(model):
        return {}
    return {name: "query" if name in query_columns else "document" for name in columns}
