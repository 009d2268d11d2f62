"""Mixed precision is used where hardware and size make it faster, and never for vectors that are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import ModelEmbedder
from embexp.models.precision import encoding_in_bf16, has_bf16
from embexp.models.tiny import TinyModel

TEXTS = ["a deque", "a much longer passage about reading files from a disk", ""]


def with_units(monkeypatch: pytest.MonkeyPatch, *, avx512: bool, amx: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)


@pytest.mark.parametrize(
    ("avx512", "amx", "expected"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_either_kind_of_unit_multiplies_bf16(
    monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool, expected: bool
) -> None:
    with_units(monkeypatch, avx512=avx512, amx=amx)

    assert has_bf16("cpu") is expected
    assert has_bf16("mps") is False


@pytest.mark.parametrize(
    ("dimension", "units", "expected"), [(256, True, True), (64, True, False), (256, False, False)]
)
def test_small_models_and_other_cpus_keep_float32(
    monkeypatch: pytest.MonkeyPatch, dimension: int, units: bool, expected: bool
) -> None:
    with_units(monkeypatch, avx512=units, amx=False)
    with encoding_in_bf16(TinyModel(dimension=dimension, layers=1).load()):
        assert torch.is_autocast_enabled("cpu") is expected


def test_vectors_in_mixed_precision_are_close_to_those_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    with_units(monkeypatch, avx512=True, amx=False)
    model = TinyModel(dimension=256, layers=1).load()
    exact = ModelEmbedder(model, fingerprint="f").encode_passages(TEXTS)
    mixed = ModelEmbedder(model, fingerprint="f", bf16=True).encode_passages(TEXTS)

    assert mixed.dtype == np.float32
    assert not np.array_equal(mixed, exact)
    assert (mixed * exact).sum(axis=1) == pytest.approx(np.ones(3), abs=1e-3)


def test_vectors_in_mixed_precision_are_not_cached(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not cached"):
        ModelEmbedder(TinyModel().load(), fingerprint="f", bf16=True, cache=EmbeddingCache(tmp_path))
