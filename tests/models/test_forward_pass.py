"""How a model computes within a block, and that it computes as before afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from embexp.models.forward_pass import attention, own_forward
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


def test_what_replaced_forward_is_back_after_the_block() -> None:
    model = TinyModel(layers=1).load()

    def replaced(*_: object, **__: object) -> None:
        raise AssertionError

    model.forward = replaced
    with own_forward(model):
        assert model.encode(TEXTS).shape == (2, 64)
    with pytest.raises(AssertionError):
        model.encode(TEXTS)
