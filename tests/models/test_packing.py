"""Computing without padding: the same vectors and gradients, and models that cannot do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import (
    BertConfig,
    BertModel,
    ModernBertConfig,
    ModernBertModel,
    Qwen3Config,
    Qwen3Model,
    RobertaConfig,
    RobertaModel,
)

from embexp.finetuning.parameter_efficient import QueryEncoder
from embexp.models.forward_pass import attention
from embexp.models.packing import PACKED, _attend, can_pack, packed_texts
from embexp.models.tiny import TinyModel

TEXTS = [
    "a deque",
    "reading files from a disk takes a while and then some more words",
    "",
    "word " * 120,
    "sorting a list in place",
]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 40_000,
}


def of_architecture(architecture: Any, config: Any, pooling: str = "mean") -> SentenceTransformer:
    """Return a model with random weights and the tokenizer of the tiny one."""
    torch.manual_seed(0)
    model = TinyModel(layers=1).load()
    inner: Any = model[0]
    inner.model = architecture(config).eval()
    inner.model_forward_params = None
    return SentenceTransformer(modules=[inner, Pooling(config.hidden_size, pooling_mode=pooling)])


def gradients(model: SentenceTransformer, block: AbstractContextManager[None]) -> list[torch.Tensor]:
    """Return the gradients of all weights for a loss of the texts' vectors."""
    model.zero_grad()
    model.eval()
    with block:
        vectors = model(model.preprocess(TEXTS))["sentence_embedding"]
        (vectors * torch.arange(vectors.numel()).view_as(vectors).sin()).sum().backward()
    return [value.grad.clone() for value in model.parameters() if value.grad is not None]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken", "weightedmean"])
@pytest.mark.parametrize(("architecture", "config"), [(BertModel, BertConfig), (RobertaModel, RobertaConfig)])
def test_vectors_are_the_same_without_padding(architecture: Any, config: Any, pooling: str) -> None:
    model = of_architecture(architecture, config(**SIZES, max_position_embeddings=300), pooling)
    padded = model.encode(TEXTS)
    with packed_texts(model):
        packed = model.encode(TEXTS)

    assert can_pack(model)
    assert np.allclose(packed, padded, atol=1e-5)
    assert np.array_equal(model.encode(TEXTS), padded)


def test_gradients_are_the_same_without_padding() -> None:
    model = of_architecture(BertModel, BertConfig(**SIZES, max_position_embeddings=300))
    padded, packed = gradients(model, attention(model, "eager")), gradients(model, packed_texts(model))

    assert len(packed) == len(padded) > 10
    for one, other in zip(packed, padded, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        (Qwen3Model, Qwen3Config(**SIZES, num_key_value_heads=4, head_dim=8)),  # causal
        (Qwen3Model, Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=8)),
        (ModernBertModel, ModernBertConfig(**SIZES, local_attention=16, pad_token_id=0)),
    ],
)
def test_models_that_attend_in_another_way_are_padded(architecture: Any, config: Any) -> None:
    assert not can_pack(of_architecture(architecture, config))


def test_a_model_without_a_transformer_is_padded() -> None:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = TinyModel(layers=1).load().tokenizer
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer.backend_tokenizer, embedding_dim=8)])
    assert not can_pack(model)


def test_a_query_encoder_packs_on_both_routes() -> None:
    model = TinyModel(layers=1).load()
    QueryEncoder().extend(model)
    padded = model.encode_query(TEXTS), model.encode_document(TEXTS)
    with packed_texts(model):
        packed = model.encode_query(TEXTS), model.encode_document(TEXTS)

    assert can_pack(model)
    assert np.allclose(packed, padded, atol=1e-5)


def test_prompts_are_left_out_of_pooling_as_ever() -> None:
    model = TinyModel(layers=1).load()
    model[1].include_prompt = False
    padded = model.encode(TEXTS[:2], prompt="query: ")
    with packed_texts(model):
        assert np.allclose(model.encode(TEXTS[:2], prompt="query: "), padded, atol=1e-5)


def test_layers_hand_on_bf16_and_texts_are_pooled_in_float32() -> None:
    model = TinyModel(layers=1).load()
    seen: list[torch.dtype] = []
    layer = model[0].auto_model.encoder.layer[0]
    with packed_texts(model), watched(layer, seen), torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(model.preprocess(TEXTS))

    assert seen == [torch.bfloat16]
    assert output["token_embeddings"].dtype == output["sentence_embedding"].dtype == torch.float32


@contextmanager
def watched(layer: Any, seen: list[torch.dtype]) -> Iterator[None]:
    handle = layer.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].dtype))
    yield
    handle.remove()


def test_the_model_is_left_as_it_was() -> None:
    model = TinyModel(layers=1).load()
    inner = model[0]
    assert isinstance(inner, Transformer)
    own = inner.config._attn_implementation
    with packed_texts(model):
        assert inner.config._attn_implementation == PACKED
    assert inner.config._attn_implementation == own
    assert not inner._forward_pre_hooks
    assert not inner._forward_hooks


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize(
    ("tokens", "dtype", "tolerance"),
    [(48, torch.bfloat16, 0.02), (272, torch.bfloat16, 0.02), (48, torch.float32, 1e-6)],
)
def test_attention_is_the_same_by_every_way(
    tokens: int, dtype: torch.dtype, tolerance: float, gradients: bool, masked: bool
) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, tokens, 8).to(dtype).requires_grad_(gradients) for _ in range(3))
    mask = torch.zeros(2, 1, 1, tokens, dtype=dtype)
    mask[0, :, :, -8:] = -1e30

    found = _attend(query, key, value, mask if masked else None, scale=0.25, dropout=0.0)

    scores = query.double() @ key.double().transpose(2, 3) * 0.25 + (mask.double() if masked else 0)
    expected = scores.softmax(dim=-1) @ value.double()
    assert found.shape == expected.shape
    assert torch.allclose(found.double(), expected, rtol=0, atol=tolerance)
