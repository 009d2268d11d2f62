"""Computing on a CPU without padding: the texts of a batch follow one another as one sequence.

Texts of a batch differ in length, and in training a third of what a padded batch computes is padding. Packed,
every token-wise operation (products with weights, normalisation, activation) sees the tokens alone; only
attention looks at texts one by one, in groups of similar length. sentence-transformers pools such sequences
already, for kernels of GPUs; here they get an attention function for CPUs. This module imports torch and
transformers at its top; it is itself imported only when a model is loaded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from sentence_transformers.base.modules import Transformer
from transformers import AttentionInterface

from embexp.models.forward_pass import attention, text_length, transformer_modules

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

PACKED = "embexp_packed"
"""The name of the attention function among those of transformers."""
_SIMILAR = 0.75
"""Texts share a group for attention if the shortest has this share of the longest one's tokens."""
_SHORT = 32
"""Texts of so few tokens share a group in any case."""
_ALIGNED = 16
"""Lengths are padded to a multiple of this: kernels take up to 3.5 times as long for 254 as for 256."""
_TRIED = 128
"""The most tokens of a text by which packing is tried."""
_FUSED_ABOVE = 256
"""Texts of more tokens take the fused attention kernel, which needs no memory for all scores at once."""
_MASKED = -1e30
_AGREEMENT = 1e-3
"""How far a packed vector may be from the padded one; what differs in kind differs by more than .01."""


@dataclass(frozen=True)
class _Group:
    """Texts of similar length, padded to one length for attention.

    Args:
        count: How many texts.
        padded: The tokens of each with padding.
        mask: What is added to the attention scores, shape (count, 1, 1, padded); None without padding.
    """

    count: int
    padded: int
    mask: torch.Tensor | None


@dataclass(frozen=True)
class _Layout:
    """Where the tokens of a packed batch are, and where they go for attention.

    Args:
        groups: The texts by length.
        source: The packed row for each row of all padded groups, one after the other; any for padding.
        back: The padded row for each packed row.
    """

    groups: Sequence[_Group]
    source: torch.Tensor
    back: torch.Tensor


class _Pad(torch.autograd.Function):
    """The packed rows as padded ones; the gradients of padding count for nothing."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, layout: _Layout) -> torch.Tensor:
        ctx.layout = layout
        return rows.index_select(0, layout.source)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        return gradient.index_select(0, ctx.layout.back), None


def _pad(rows: torch.Tensor, layout: _Layout) -> torch.Tensor:
    return _Pad.apply(rows, layout)  # type: ignore[no-any-return, no-untyped-call]


class _Unpad(torch.autograd.Function):
    """The padded rows as packed ones; padding has no gradient."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, layout: _Layout) -> torch.Tensor:
        ctx.layout, ctx.rows = layout, len(rows)
        return rows.index_select(0, layout.back)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        padded = gradient.new_zeros(ctx.rows, gradient.shape[1])
        return padded.index_copy_(0, ctx.layout.back, gradient), None


def _unpad(rows: torch.Tensor, layout: _Layout) -> torch.Tensor:
    return _Unpad.apply(rows, layout)  # type: ignore[no-any-return, no-untyped-call]


def _layout(lengths: Sequence[int]) -> _Layout:
    """Lay out texts of these lengths, which are packed in this order."""
    starts = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    groups, sources, held = [], [], []
    for texts in _similar(lengths):
        padded = math.ceil(lengths[texts[0]] / _ALIGNED) * _ALIGNED
        place = torch.arange(padded)
        holds = place < torch.tensor([lengths[text] for text in texts])[:, None]
        first = torch.tensor([starts[text] for text in texts])[:, None]
        mask = None
        if not holds.all():
            mask = torch.zeros(holds.shape).masked_fill_(~holds, _MASKED)[:, None, None, :]
        groups.append(_Group(len(texts), padded, mask))
        sources.append(torch.where(holds, first + place, first).flatten())
        held.append(holds.flatten())
    source, real = torch.cat(sources), torch.cat(held).nonzero().flatten()
    return _Layout(groups, source, back=torch.empty_like(real).index_copy_(0, source[real], real))


def _similar(lengths: Sequence[int]) -> list[list[int]]:
    """Return the numbers of the texts in groups of similar length, the longest first."""
    groups: list[list[int]] = []
    longest = 0
    for text in sorted(range(len(lengths)), key=lambda text: -lengths[text]):
        if groups and (lengths[text] >= _SIMILAR * longest or longest <= _SHORT):
            groups[-1].append(text)
        else:
            groups.append([text])
            longest = lengths[text]
    return groups


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    layout: _Layout | None = None,
    **others: object,  # noqa: ARG001
) -> tuple[torch.Tensor, None]:
    """Attend within each text of a packed batch (Vaswani et al. 2017, section 3.2.1).

    The arguments are those of transformers' attention functions.

    Args:
        module: The attention layer.
        query: Shape (1, heads, tokens, size of a head), as are ``key`` and ``value``.
        key: See ``query``.
        value: See ``query``.
        attention_mask: Not read: texts see all of their own tokens.
        scaling: The factor of the scores; None means one over the root of a head's size.
        dropout: The probability to drop a weight.
        sliding_window: How far tokens see; None for as far as the text goes.
        layout: Where the texts are.

    Returns:
        Shape (1, tokens, heads, size of a head), and no weights.

    Raises:
        ValueError: The batch is not packed, or the layer attends in another way.
    """
    if layout is None or sliding_window is not None or key.shape != query.shape:
        raise ValueError(f"{type(module).__name__} attends in another way than to packed texts.")
    _, heads, tokens, size = query.shape
    lengths = [group.count * group.padded for group in layout.groups]
    padded: list[tuple[torch.Tensor, ...]] = [
        _pad(each[0].transpose(0, 1).reshape(tokens, heads * size), layout).split(lengths)  # type: ignore[no-untyped-call]
        for each in (query, key, value)
    ]
    dropout = dropout if module.training else 0.0
    outputs = []
    for group, *parts in zip(layout.groups, *padded, strict=True):
        q, k, v = (part.view(group.count, group.padded, heads, size).transpose(1, 2) for part in parts)
        mask = None if group.mask is None else group.mask.to(q.dtype)
        attended = _attend(q, k, v, mask, scale=size**-0.5 if scaling is None else scaling, dropout=dropout)
        outputs.append(attended.transpose(1, 2).reshape(-1, heads * size))
    return _unpad(torch.cat(outputs), layout).view(1, tokens, heads, size), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    scale: float,
    dropout: float,
) -> torch.Tensor:
    """Attend within padded texts; all tensors but the mask: (texts, heads, tokens, size of a head).

    The fused kernel has no dropout on CPUs. In bf16 products of matrices take half of its time for texts of
    100 tokens and as much for 200, and a fifth to a tenth of it for gradients.
    """
    functional = torch.nn.functional
    in_bf16 = query.dtype is torch.bfloat16
    by_products = in_bf16 and (query.requires_grad or query.shape[2] <= _FUSED_ABOVE)
    if not dropout and not by_products:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    texts, heads, tokens, _ = query.shape
    q, k, v = (each.reshape(texts * heads, tokens, -1) for each in (query, key, value))
    if mask is None:
        scores = torch.bmm(q * scale, k.transpose(1, 2))
    else:
        added = mask.expand(texts, heads, 1, tokens).reshape(texts * heads, 1, tokens)
        scores = torch.baddbmm(added, q, k.transpose(1, 2), alpha=scale)
    weights = functional.dropout(functional.softmax(scores, dim=-1), p=dropout)
    return torch.bmm(weights, v).view(query.shape)


AttentionInterface.register(PACKED, packed_attention)


def can_pack(model: SentenceTransformer) -> bool:
    """Return whether the model's vectors are the same without padding; a short and a long text are tried.

    That is so for encoders whose tokens see the whole text, such as BERT and RoBERTa with any pooling; not
    where attention is causal, local or of the model's own making. A model is tried once.
    """
    known = _CAN_PACK.get(model)
    if known is None:
        known = _CAN_PACK[model] = model.device.type == "cpu" and _tried(model)
    return known


_CAN_PACK: WeakKeyDictionary[SentenceTransformer, bool] = WeakKeyDictionary()


def _tried(model: SentenceTransformer) -> bool:
    texts = ["1", " ".join(map(str, range(_TRIED)))]
    modules = transformer_modules(model)
    if not modules or not all(map(_takes_any_argument, modules)):
        return False
    try:
        with text_length(model, min(model.max_seq_length or _TRIED, _TRIED)):
            padded = _vectors(model, texts)
            with packed_texts(model):
                packed = _vectors(model, texts)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        log.debug("%s computes with padding: %s", type(modules[0].auto_model).__name__, error)
        return False
    return torch.allclose(padded, packed, rtol=0, atol=_AGREEMENT)


def _takes_any_argument(module: object) -> bool:
    """Return whether a module hands all features to its transformer, as the layout must be."""
    return isinstance(module, Transformer) and module.model_forward_params is None


def _vectors(model: SentenceTransformer, texts: list[str]) -> torch.Tensor:
    """Return unit vectors of the texts as queries and as documents."""
    return torch.cat(
        [
            encode(texts, show_progress_bar=False, convert_to_tensor=True, normalize_embeddings=True)
            for encode in (model.encode_query, model.encode_document)
        ]
    )


@contextmanager
def packed_texts(model: SentenceTransformer) -> Iterator[None]:
    """Compute without padding within the block; the model must be one that ``can_pack`` has tried."""
    with ExitStack() as stack:
        stack.enter_context(attention(model, PACKED))
        for module in transformer_modules(model):
            stack.callback(module.register_forward_pre_hook(_pack).remove)
            stack.callback(module.register_forward_hook(_to_float32).remove)
            if isinstance(embeddings := getattr(module.auto_model, "embeddings", None), torch.nn.Module):
                stack.callback(embeddings.register_forward_hook(_to_autocast).remove)
        yield


def _to_autocast(_: torch.nn.Module, __: object, output: Any) -> Any:
    """Have the layers hand on bf16 under autocast, which would otherwise add and normalise in float32."""
    if torch.is_tensor(output) and torch.is_autocast_enabled(output.device.type):
        return output.to(torch.get_autocast_dtype(output.device.type))
    return output


def _to_float32(module: Transformer, _: object, features: dict[str, Any]) -> dict[str, Any]:
    """Have texts pooled and compared in float32."""
    name = module.module_output_name
    return {**features, name: features[name].float()}


def _pack(module: Transformer, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Write the texts of a padded batch one after the other."""
    features, *others = arguments
    mask = features["attention_mask"].bool()  # shape (texts, tokens of the longest)
    lengths = mask.sum(dim=1)
    packed = {
        name: value[mask][None]
        if torch.is_tensor(value) and value.shape[: mask.ndim] == mask.shape
        else value
        for name, value in features.items()
        if name != "attention_mask"
    }
    positions = (mask.cumsum(dim=1) - 1)[mask] + module._infer_flatten_position_offset()
    ends = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    packed |= {
        "position_ids": positions[None],
        "cu_seq_lens_q": ends,
        "layout": _layout(lengths.tolist()),
    }
    return (packed, *others)
