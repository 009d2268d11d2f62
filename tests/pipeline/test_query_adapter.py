"""Runs that tune the vectors of queries, of a model behind a service and of one with weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.models import AdaptedModel, EmbeddingCache, SourceEmbedder
from embexp.tracking.mlflow_store import tracking_address
from tests.models.embeddings_server import KEY, EmbeddingService, embedding, tiny_vectors

ADAPTER = ["trainer=query_adapter", "trainer.kind=low_rank", "trainer.hidden=16", "trainer.ridge=0"]
QUESTION = "which kettle has steam"


def data(beir: Path) -> list[str]:
    return ["dataset=beir", f"dataset.path={beir}", "retriever=exact", "split.dev=0.2"]


def service(url: str, *more: str) -> list[str]:
    given = ["model=openai_compatible", "model.id=m", f"model.base_url={url}"]
    return [*given, "model.api_key_env=EMBEDDINGS_KEY", *more]


def outcome(folder: Path) -> Any:
    return json.loads((folder / "outcome.json").read_text(encoding="utf-8"))


def test_what_is_tuned_behind_a_service_serves_everything(
    run, beir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDINGS_KEY", KEY)
    asked = EmbeddingService(tiny_vectors(), key=KEY)
    with embedding(asked) as server:
        done = run("run", *data(beir), *service(server.url), *ADAPTER, "hydra.run.dir=served")
        assert done.code == 0, done.err
        found = outcome(tmp_path / "served")
        training, folder = found["training"], tmp_path / "served" / "model"
        assert training["candidates"]["tuned"] > training["candidates"]["untuned"]
        assert training["selected"] != "untuned"
        assert set(asked.answered.values()) == {1}

        search = run("search", QUESTION, "--run", "served")
        assert search.code == 0, search.err
        again = ["tracker=none", "model@tuned=adapted", f"tuned.path={folder}", "hydra.run.dir=again"]
        assert run("benchmark", *data(beir), *service(server.url), *again).code == 0
        scores = outcome(tmp_path / "again")["scores"]
        for system in ("untuned", "tuned"):
            assert scores[system] == pytest.approx(found["scores"][system])
        export = run("export", "--run", "served", "format=adapter")
        assert export.code == 0, export.err
        assert run("export", "--run", "served", "format=onnx").code == 2
        assert asked.answered.pop(QUESTION) == 1
        assert set(asked.answered.values()) == {1}

        embedder = SourceEmbedder(AdaptedModel(path=str(folder)), EmbeddingCache(tmp_path / "vectors"))
        wanted = embedder.encode_queries([QUESTION]), embedder.encode_passages([QUESTION])
        loaded = mlflow_model(tmp_path)
        for vectors, params in zip(wanted, ({"prompt_name": "query"}, None), strict=True):
            np.testing.assert_allclose(loaded.predict([QUESTION], params=params), vectors, atol=1e-6)

    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "AdaptedModel(path=" in card
    assert "SentenceTransformer(" not in card
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in left if KEY.encode() in path.read_bytes()] == []


def mlflow_model(folder: Path) -> Any:
    """Load the only model in the folder's MLflow database, as ``mlflow models serve`` does."""
    import mlflow

    with tracking_address(f"sqlite:///{folder / 'mlflow.db'}"):
        (stored,) = mlflow.search_logged_models(
            experiment_ids=[each.experiment_id for each in mlflow.search_experiments()], output_format="list"
        )
        return mlflow.pyfunc.load_model(stored.model_uri)


def test_a_model_with_weights_becomes_one_folder_that_reuses_the_passages(
    run, beir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from sentence_transformers import SentenceTransformer

    local = [*data(beir), "model=tiny", "tracker=none"]
    done = run("run", *local, *ADAPTER, "hydra.run.dir=tuned")
    assert done.code == 0, done.err
    folder = tmp_path / "tuned" / "model"
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    # The tuned model has no vectors of its own: its passages keep those of the untuned one.
    assert len(list((tmp_path / "outputs" / "cache" / "embeddings").glob("*/meta.json"))) == 1

    again = ["model@tuned=local", f"tuned.path={folder}", "hydra.run.dir=again"]
    assert run("benchmark", *local, *again).code == 0
    scores = outcome(tmp_path / "again")["scores"]
    assert scores["tuned"] == pytest.approx(outcome(tmp_path / "tuned")["scores"]["tuned"], abs=1e-3)
    assert model.encode_query([QUESTION]).shape == (1, 64)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "SentenceTransformer(" in card
    assert "passages keep the vectors of\ntiny" in card
    exported = run("export", "--run", "tuned", "format=onnx")
    assert exported.code == 0, exported.err
    assert (tmp_path / "tuned" / "export" / "onnx" / "query" / "model.onnx").is_file()


def test_a_sweep_varies_the_settings_of_an_adapter(run, beir: Path, tmp_path: Path) -> None:
    varied = ["trainer=query_adapter", "trainer.kind=linear,low_rank", "hydra.sweep.dir=S"]
    done = run("finetune", "-m", *data(beir), "model=tiny", "tracker=none", *varied)
    assert done.code == 0, done.err
    files = sorted((tmp_path / "S").glob("*/model/adapter.json"))
    kinds = [json.loads(file.read_text(encoding="utf-8"))["kind"] for file in files]
    assert kinds == ["linear", "low_rank"]
