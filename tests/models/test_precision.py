"""Mixed precision is used where hardware and size make it faster, and its vectors are kept apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import ModelEmbedder, SourceEmbedder
from embexp.models.precision import encoding_in_bf16, has_bf16, mixed_fingerprint
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


def test_vectors_in_mixed_precision_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_units(monkeypatch, avx512=True, amx=False)
    model, cache = TinyModel(dimension=256, layers=1).load(), EmbeddingCache(tmp_path)
    mixed = ModelEmbedder(model, fingerprint="f", bf16=True, cache=cache).encode_passages(TEXTS)

    assert cache.known("f", "passage", TEXTS) == 0
    assert cache.known(mixed_fingerprint("f"), "passage", TEXTS) == len(TEXTS)
    exact = ModelEmbedder(model, fingerprint="f", cache=cache).encode_passages(TEXTS)
    assert not np.array_equal(mixed, exact)


def test_a_small_model_has_vectors_in_float32_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_units(monkeypatch, avx512=True, amx=False)
    cache = EmbeddingCache(tmp_path)
    embedder = SourceEmbedder(TinyModel(layers=1), cache, bf16=True)
    embedder.encode_queries(TEXTS)

    assert not embedder.mixed
    assert cache.known(embedder.fingerprint, "query", TEXTS) == len(TEXTS)


def test_texts_that_need_float32_get_it_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_units(monkeypatch, avx512=True, amx=False)
    source, cache = TinyModel(dimension=256, layers=1), EmbeddingCache(tmp_path)
    exact = SourceEmbedder(source, EmbeddingCache(tmp_path / "exact")).encode_passages(TEXTS)
    embedder = SourceEmbedder(source, cache, bf16=True)
    mixed = embedder.encode_passages(TEXTS)
    embedder.require_float32("passage", TEXTS[1:2])
    both = embedder.encode_passages(TEXTS)

    assert embedder.mixed
    np.testing.assert_array_equal(both[[0, 2]], mixed[[0, 2]])
    np.testing.assert_allclose(both[1], exact[1], atol=1e-6)
    assert not np.allclose(mixed[1], exact[1], atol=1e-6)
    assert cache.known(embedder.fingerprint, "passage", TEXTS) == 1
    np.testing.assert_array_equal(embedder.encode_queries(TEXTS), mixed)  # the model has no prompts
