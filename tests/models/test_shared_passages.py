"""A model with a query encoder of its own names the model whose passages have the same vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.models.folder import SHARED_PASSAGES
from embexp.models.shared_passages import passages_fingerprint, share_passages
from embexp.models.sources import LocalModel
from embexp.models.tiny import TinyModel

TEXTS = ["barato deneli", "lamach"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    TinyModel(seed=1, layers=1).load().save_pretrained(str(folder))
    return folder


def test_passages_are_kept_under_the_other_models_digest(folder: Path) -> None:
    model = LocalModel(path=str(folder))
    own = model.fingerprint()
    assert passages_fingerprint(model, model.fingerprint()) == own
    share_passages(folder, "the untuned model")

    assert passages_fingerprint(model, model.fingerprint()) == "the untuned model"
    assert model.fingerprint() == own  # the record decides no vector


def test_only_passages_are_taken_from_the_other_model(folder: Path, tmp_path: Path) -> None:
    model, cache = LocalModel(path=str(folder)), EmbeddingCache(tmp_path / "cache")
    own = SourceEmbedder(model, EmbeddingCache(tmp_path / "own")).encode_queries(TEXTS)
    share_passages(folder, "the untuned model")
    for role in ("query", "passage"):
        cache.fetch("the untuned model", role, TEXTS, lambda texts: np.zeros((len(texts), 64)))
    embedder = SourceEmbedder(model, cache)

    assert not embedder.encode_passages(TEXTS).any()
    assert np.array_equal(embedder.encode_queries(TEXTS), own)


def test_a_record_of_other_files_or_prompts_counts_for_nothing(folder: Path) -> None:
    model = LocalModel(path=str(folder))
    share_passages(folder, "the untuned model")
    prompted = LocalModel(path=str(folder), passage_prompt="passage: ")
    assert passages_fingerprint(prompted, prompted.fingerprint()) == prompted.fingerprint()

    TinyModel(seed=2, layers=1).load().save_pretrained(str(folder))
    assert passages_fingerprint(model, model.fingerprint()) == model.fingerprint()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"passages_of": "x"}', "null"])
def test_a_damaged_record_counts_for_nothing(folder: Path, content: str) -> None:
    (folder / SHARED_PASSAGES).write_text(content)
    model = LocalModel(path=str(folder))
    assert passages_fingerprint(model, model.fingerprint()) == model.fingerprint()
