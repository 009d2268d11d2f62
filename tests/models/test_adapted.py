"""Models with an adapter of their queries: behind a service, and with weights of their own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.errors import ConfigError, ModelError
from embexp.finetuning.teachers.models import BiEncoderTeacher
from embexp.models import AdaptedModel, EmbeddingCache, SourceEmbedder
from embexp.models.adapted import save_adapted, service_of, tuned_model
from embexp.models.encoder import PROBE, AdaptedEmbedder
from embexp.models.openai_compatible import OpenAICompatibleModel
from embexp.models.sources import LocalModel
from embexp.models.tiny import TinyModel
from embexp.models.vector_adapter import AdapterKind, VectorAdapter, identity_adapter
from tests.models.embeddings_server import EmbeddingService, embedding, hashed

KINDS: tuple[AdapterKind, ...] = ("linear", "low_rank", "residual")
TEXTS = ["a kettle", "ä 漢字 box", ""]


def adapter_of(kind: AdapterKind, dimension: int) -> VectorAdapter:
    """Return an adapter that moves every vector."""
    draw = np.random.default_rng(3)
    start = identity_adapter(kind, dimension, hidden=5)
    moved = {
        name: (value + draw.normal(scale=0.3, size=value.shape)).astype(np.float32)
        for name, value in start.weights.items()
    }
    return VectorAdapter(kind, moved)


def service(url: str = "http://127.0.0.1:9/v1", **options: Any) -> OpenAICompatibleModel:
    return OpenAICompatibleModel(name="m", id="m", base_url=url, **options)


def unit(texts: Sequence[str]) -> Any:
    rows = np.array(hashed([text or " " for text in texts]))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_the_saved_model_loads_with_the_library_alone(kind: AdapterKind, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    base, adapter = TinyModel(dimension=16, layers=1), adapter_of(kind, 16)
    save_adapted(tmp_path / "model", adapter, base)
    loaded = SentenceTransformer(str(tmp_path / "model"), device="cpu", local_files_only=True)
    plain = base.load()

    wanted = adapter.apply(plain.encode_query(TEXTS, normalize_embeddings=True))
    np.testing.assert_allclose(loaded.encode_query(TEXTS), wanted, atol=1e-6)
    passages = plain.encode_document(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(loaded.encode_document(TEXTS), passages, atol=1e-6)
    assert np.abs(wanted - passages).max() > 0.1
    again = tuned_model(tmp_path / "model", base)
    np.testing.assert_allclose(again.load().encode_query(TEXTS), wanted, atol=1e-6)
    embedder = SourceEmbedder(again, EmbeddingCache(tmp_path / "cache"))
    np.testing.assert_allclose(embedder.encode_queries(TEXTS), wanted, atol=1e-6)
    assert embedder.address == ""


def test_passages_are_those_of_the_service_and_paid_for_once(tmp_path: Path) -> None:
    asked, adapter = EmbeddingService(), adapter_of("low_rank", 4)
    with embedding(asked) as server:
        base, cache = service(server.url), EmbeddingCache(tmp_path / "cache")
        SourceEmbedder(base, cache).encode_passages(TEXTS)
        SourceEmbedder(base, cache).encode_queries(TEXTS)
        save_adapted(tmp_path / "model", adapter, base)
        source = AdaptedModel(path=str(tmp_path / "model"))
        embedder = SourceEmbedder(source, cache)
        np.testing.assert_allclose(embedder.encode_passages(TEXTS), unit(TEXTS), atol=1e-6)
        np.testing.assert_allclose(embedder.encode_queries(TEXTS), adapter.apply(unit(TEXTS)), atol=1e-6)
        assert embedder.encode_queries([]).shape == (0, 4)

    assert asked.answered.pop(PROBE) == 1
    assert set(asked.answered.values()) == {2}  # as a query, and as a passage
    assert not (tmp_path / "model" / "modules.json").exists()
    assert source.below == base
    assert source.tokens().limit == base.tokens().limit
    assert service_of(source) == base


def test_the_fingerprint_follows_the_weights_and_the_model_below(tmp_path: Path) -> None:
    base = service()
    for name, kind in (("one", "low_rank"), ("two", "residual")):
        save_adapted(tmp_path / name, adapter_of(kind, 4), base)  # type: ignore[arg-type]
    other = service("http://127.0.0.1:10/v1")
    sources = [
        tuned_model(tmp_path / "one", base),
        tuned_model(tmp_path / "two", base),
        tuned_model(tmp_path / "one", other),
    ]

    assert len({base.fingerprint(), *(source.fingerprint() for source in sources)}) == 4
    assert AdaptedModel(path=str(tmp_path / "one")).fingerprint() == sources[0].fingerprint()


def test_a_folder_without_an_adapter_is_a_model_as_before(tmp_path: Path) -> None:
    assert tuned_model(tmp_path, service()) == LocalModel(path=str(tmp_path))


def test_what_leads_to_the_service_is_saved_and_no_secret(tmp_path: Path) -> None:
    base = service("http://me:pass-word-41c7@127.0.0.1:9/v1", api_key_env="EMBEDDINGS_KEY", dimensions=4)
    save_adapted(tmp_path, adapter_of("linear", 4), base)
    about = json.loads((tmp_path / "adapter.json").read_text(encoding="utf-8"))["about"]

    assert about["service"]["api_key_env"] == "EMBEDDINGS_KEY"
    assert about["service"]["dimensions"] == 4
    assert "pass-word-41c7" not in (tmp_path / "adapter.json").read_text(encoding="utf-8")
    with pytest.raises(ModelError, match="does not hold the secrets of its service: set base to the model"):
        AdaptedModel(path=str(tmp_path)).fingerprint()
    assert AdaptedModel(path=str(tmp_path), base=base).fingerprint()


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({}, "names no service that its adapter belongs to"),
        ({"service": {"name": "m", "id": "m", "base_url": "nowhere"}}, "model.base_url=nowhere"),
        ({"service": {"name": "m", "id": "m", "base_url": "http://a", "colour": 1}}, "colour"),
        ({"service": "http://a"}, "names no service"),
    ],
)
def test_a_service_that_cannot_be_read_is_named(about: Any, said: str, tmp_path: Path) -> None:
    adapter_of("linear", 4).save(tmp_path)
    file = tmp_path / "adapter.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "about": about}))
    with pytest.raises(ModelError, match=said):
        _ = AdaptedModel(path=str(tmp_path)).below


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no adapter"):
        AdaptedModel(path=str(tmp_path / "nothing")).fingerprint()


def test_weights_behind_a_service_cannot_be_loaded(tmp_path: Path) -> None:
    save_adapted(tmp_path, adapter_of("linear", 4), service())
    source = AdaptedModel(path=str(tmp_path))
    with pytest.raises(ModelError, match="m is a model behind http"):
        source.load()
    with pytest.raises(ConfigError, match="The teacher's model adapted is behind a service"):
        BiEncoderTeacher(model=source)


def test_vectors_of_another_length_are_refused(tmp_path: Path) -> None:
    save_adapted(tmp_path / "model", adapter_of("linear", 7), service())
    with embedding(EmbeddingService()) as server:
        source = AdaptedModel(path=str(tmp_path / "model"), base=service(server.url))
        with pytest.raises(ModelError, match="maps vectors of 7 numbers"):
            SourceEmbedder(source, EmbeddingCache(tmp_path / "cache")).encode_queries(TEXTS)


def test_an_adapted_embedder_leaves_passages_alone(tmp_path: Path) -> None:
    with embedding(EmbeddingService()) as server:
        below = SourceEmbedder(service(server.url), EmbeddingCache(tmp_path), name="untuned shop")
        adapter = adapter_of("residual", 4)
        embedder = AdaptedEmbedder(below, adapter)
        np.testing.assert_array_equal(embedder.encode_passages(TEXTS), below.encode_passages(TEXTS))
        wanted = adapter.apply(below.encode_queries(TEXTS))
        np.testing.assert_array_equal(embedder.encode_queries(TEXTS), wanted)

    assert embedder.dimension == 4
    assert embedder.name == "untuned shop"
