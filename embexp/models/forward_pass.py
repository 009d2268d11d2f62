"""How a loaded model computes within a block: text length, attention function, whose ``forward``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_OF_ACCELERATE = ("forward", "_original_forward", "_is_accelerate_prepared")
"""What preparing a model for mixed precision adds to its attributes."""


@contextmanager
def text_length(model: SentenceTransformer, tokens: int | None) -> Iterator[None]:
    """Truncate texts to ``tokens`` within the block; None leaves the model as it is."""
    own = model.max_seq_length
    differs = tokens is not None and tokens != own
    if differs:
        model.max_seq_length = tokens
    try:
        yield
    finally:
        if differs:
            model.max_seq_length = own


@contextmanager
def attention(model: SentenceTransformer, kind: str) -> Iterator[None]:
    """Compute attention with the implementation ``kind`` within the block.

    Nothing changes for a model that is not a transformer, or for one without that choice.
    """
    changed = []
    for transformer in (module.auto_model for module in transformer_modules(model)):
        own = getattr(transformer.config, "_attn_implementation", None)
        if own is not None and own != kind:
            transformer.set_attn_implementation(kind)
            changed.append((transformer, own))
    try:
        yield
    finally:
        for transformer, own in changed:
            transformer.set_attn_implementation(own)


def transformer_modules(model: SentenceTransformer) -> list[Any]:
    """Return the modules of a model that hold a transformer: none, one, or one for each route."""
    return [module for module in model.modules() if hasattr(module, "auto_model")]


@contextmanager
def own_forward(model: SentenceTransformer) -> Iterator[None]:
    """Compute with the class's ``forward`` within the block, and put back afterwards what stood in its place.

    In mixed precision the trainer's library replaces ``forward`` in the model itself by one under autocast,
    and leaves it there: whatever the model encoded afterwards would be in bf16. It leaves a mark, too, that
    keeps the next training of the same model from mixed precision.
    """
    replaced = _without_autocast(model)
    try:
        yield
    finally:
        _without_autocast(model)
        model.__dict__.update(replaced)


def _without_autocast(model: SentenceTransformer) -> dict[str, Any]:
    """Remove what accelerate has added to a model, and return it."""
    return {name: model.__dict__.pop(name) for name in _OF_ACCELERATE if name in model.__dict__}
