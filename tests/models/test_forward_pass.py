"""How a model computes within a block, and that it computes as before afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embexp.models.forward_pass import attention, in_bf16
from embexp.models.tiny import TinyModel

TEXTS = ["barato deneli", "lamach"]


def test_attention_is_computed_otherwise_within_the_block_alone() -> None:
    model = TinyModel(layers=1).load()
    config = model[0].auto_model.config
    own, before = config._attn_implementation, model.encode(TEXTS)
    with attention(model, "eager"):
        assert config._attn_implementation == "eager"
        assert np.allclose(model.encode(TEXTS), before, atol=1e-6)
    assert config._attn_implementation == own


def test_vectors_are_computed_in_bf16_within_the_block_alone_and_are_float32() -> None:
    model = TinyModel(layers=1).load()
    linear = next(module for module in model.modules() if isinstance(module, torch.nn.Linear))
    computed: list[torch.dtype] = []
    linear.register_forward_hook(lambda _, __, output: computed.append(output.dtype))
    before = model.encode(TEXTS)
    with in_bf16(model):
        assert model.encode(TEXTS) == pytest.approx(before, abs=0.02)
        assert model.encode(TEXTS).dtype == np.float32
    assert np.array_equal(model.encode(TEXTS), before)
    assert computed == [torch.float32, torch.bfloat16, torch.bfloat16, torch.float32]
