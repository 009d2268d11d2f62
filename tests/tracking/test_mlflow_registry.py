from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import mlflow.artifacts
import numpy as np
import pytest
import requests
from mlflow.models import Model

from embexp.benchmarking.statistics.comparison import Verdict
from embexp.errors import ConfigError, EmbexpError
from embexp.tracking.mlflow import MlflowTracker
from embexp.tracking.mlflow_registry import register
from embexp.tracking.mlflow_store import tracking_address
from embexp.tracking.tracker import RegisteredModel
from tests.mlflow_server import stop, wait_for
from tests.postgres_server import free_port

TEXTS = ["how do I cap a deque?", "The kettle boils water.", ""]


def next_version(tracker: MlflowTracker, name: str, verdict: Verdict | None) -> RegisteredModel:
    opened = tracker._open()
    client, experiment_id = opened.client, opened.experiment_id
    run = client.create_run(experiment_id).info.run_id
    model = client.create_logged_model(experiment_id, "model", run)
    client.finalize_logged_model(model.model_id, "READY")
    with tracking_address(tracker.address):
        return register(client, name, model_id=model.model_id, run_id=run, verdict=verdict)


def champion(tracker: MlflowTracker, name: str) -> int | None:
    client = tracker._open().client
    version = client.get_registered_model(name).aliases.get("champion")
    return version and int(version)


@pytest.mark.parametrize("verdict", [None, "NO EVIDENCE", "REGRESSION"])
def test_a_first_version_that_was_not_proven_better_has_no_alias(
    tracker: MlflowTracker, verdict: Verdict | None
) -> None:
    name = f"first {verdict}"
    assert next_version(tracker, name, verdict) == RegisteredModel(name, 1, "")
    assert champion(tracker, name) is None


def test_the_champion_moves_only_on_win(tracker: MlflowTracker) -> None:
    verdicts: list[Verdict | None] = ["WIN", "NO EVIDENCE", None, "WIN", "REGRESSION"]
    made = [next_version(tracker, "docs", verdict) for verdict in verdicts]
    assert [(one.version, one.alias) for one in made] == [
        (1, "champion"),
        (2, ""),
        (3, ""),
        (4, "champion"),
        (5, ""),
    ]
    assert champion(tracker, "docs") == 4


def test_a_version_names_its_run_and_verdict(tracker: MlflowTracker) -> None:
    next_version(tracker, "named", "WIN")
    client = tracker._open().client
    version = client.get_model_version_by_alias("named", "champion")
    assert version.tags == {"verdict": "WIN"}
    assert client.get_run(version.run_id).info.run_id == version.run_id


def test_a_model_is_stored_without_loading_it(tracker: MlflowTracker, saved: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from embexp.tracking.mlflow import MlflowTracker
with MlflowTracker(root={tracker.root!r}).run("stored", params={{}}, tags={{}}) as run:
    run.log_model(Path({str(saved)!r}))
print(sorted({{"torch", "transformers", "sentence_transformers"}} & set(sys.modules)))
print(run.run_id)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    imported, run_id = done.stdout.splitlines()
    assert imported == "[]"
    with tracking_address(tracker.address):
        folder = Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/model"))
    entry = Model.load(folder)
    assert set(entry.flavors) == {"python_function", "sentence_transformers"}
    assert entry.model_size_bytes == sum(
        file.stat().st_size for file in (folder / "model.sentence_transformer").rglob("*") if file.is_file()
    )
    pinned = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line.partition("==")[0] for line in pinned] == [
        "mlflow",
        "sentence-transformers",
        "transformers",
        "torch",
    ]
    assert str(saved) not in (folder / "MLmodel").read_text(encoding="utf-8")


def test_a_full_disk_is_said_while_a_model_is_stored(
    tracker: MlflowTracker, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: str, *, follow_symlinks: bool = True) -> str:
        raise OSError(errno.ENOSPC, "No space left on device", source, None, target)

    with tracker.run("stored", params={}, tags={}) as run:
        monkeypatch.setattr("shutil.copyfile", full)
        with pytest.raises(EmbexpError, match="No space left on the disk"):
            run.log_model(saved)


def test_models_are_registered_in_postgresql_too(postgres: str, tmp_path: Path) -> None:
    tracker = MlflowTracker(uri=postgres, artifacts=str(tmp_path))
    assert next_version(tracker, "docs", "WIN") == RegisteredModel("docs", 1, "champion")
    assert champion(tracker, "docs") == 1


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "a@b"])
def test_a_name_that_mlflow_cannot_take_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"tracker\.register='.*' is no name"):
        MlflowTracker(register=name)


def test_a_model_that_is_not_stored_cannot_be_registered() -> None:
    with pytest.raises(ConfigError, match=r"tracker\.log_model is false"):
        MlflowTracker(register="docs", log_model=False)


def test_a_stored_model_of_two_encoders_takes_the_side_of_the_texts(tmp_path: Path) -> None:
    import mlflow
    import torch

    from embexp.finetuning.parameter_efficient import QueryEncoder
    from embexp.models.tiny import TinyModel

    model = TinyModel(name="tiny", seed=0, dimension=32, layers=1).load()
    QueryEncoder().extend(model)
    with torch.no_grad():
        for weight in model[0].sub_modules["query"].parameters():
            weight.mul_(1.0 + torch.rand_like(weight))
    model.save_pretrained(str(tmp_path / "model"))
    tracker = MlflowTracker(root=str(tmp_path))
    with tracker.run("tuned", params={}, tags={}) as run:
        run.log_model(tmp_path / "model")
    (entry,) = run.client.search_logged_models([run.experiment_id])
    with tracking_address(tracker.address):
        stored = mlflow.pyfunc.load_model(f"models:/{entry.model_id}")
    asked, searched = (
        np.array(stored.predict(TEXTS, params={"task": task})) for task in ("query", "document")
    )
    np.testing.assert_allclose(asked, model.encode_query(TEXTS), atol=1e-6)
    np.testing.assert_allclose(searched, model.encode_document(TEXTS), atol=1e-6)
    np.testing.assert_allclose(stored.predict(TEXTS), searched, atol=1e-6)
    assert not np.allclose(asked, searched, atol=1e-3)


@pytest.mark.slow
def test_a_registered_model_is_served_and_answers_an_embedding_request(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    from embexp.models.tiny import TinyModel

    model = TinyModel(name="tiny", seed=0, dimension=32, layers=1).load()
    model.prompts = {"query": "query: "}
    model.save_pretrained(str(tmp_path / "model"))
    tracker = MlflowTracker(root=str(tmp_path), register="docs")
    with tracker.run("tuned", params={}, tags={}) as run:
        registered = run.log_model(tmp_path / "model", verdict="WIN")
    assert registered == RegisteredModel("docs", 1, "champion")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/docs@champion"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # mlflow looks for uvicorn there
    environment = {**os.environ, "MLFLOW_TRACKING_URI": tracker.address, "PATH": path}
    server = subprocess.Popen(
        [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)],
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(f"{address}/ping", server)
        plain = requests.post(f"{address}/invocations", json={"inputs": TEXTS}, timeout=60)
        with_prompt = {"inputs": TEXTS, "params": {"prompt_name": "query"}}
        prompted = requests.post(f"{address}/invocations", json=with_prompt, timeout=60)
        wrong = requests.post(f"{address}/invocations", json={"inputs": [{"a": 1}]}, timeout=60)
    finally:
        stop(server)
    local = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    for answer, prompt in ((plain, None), (prompted, "query")):
        assert answer.status_code == 200
        vectors = np.array(answer.json()["predictions"])
        assert vectors.shape == (3, 32)
        np.testing.assert_allclose(vectors, local.encode(TEXTS, prompt_name=prompt), atol=1e-6)
    assert not np.allclose(plain.json()["predictions"], prompted.json()["predictions"], atol=1e-3)
    assert wrong.status_code == 400
