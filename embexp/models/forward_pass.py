"""How a loaded model computes within a block: text length, attention function, precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


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
def in_bf16(model: SentenceTransformer) -> Iterator[None]:
    """Compute vectors under autocast to bf16 within the block; they are float32 (arXiv 1710.03740).

    What a loss does with the vectors is not under autocast.
    """
    import torch

    own = model.forward

    def forward(*arguments: Any, **options: Any) -> dict[str, Any]:
        with torch.autocast(model.device.type, dtype=torch.bfloat16):
            features = own(*arguments, **options)
        return {
            name: value.float() if torch.is_tensor(value) and value.is_floating_point() else value
            for name, value in features.items()
        }

    model.forward = forward
    try:
        yield
    finally:
        del model.forward
