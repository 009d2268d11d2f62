from __future__ import annotations

import math
import multiprocessing
import os
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from embexp.errors import ConfigError, EmbexpError, ModelError, TrackingError
from embexp.tracking import mlflow_store as store
from embexp.tracking.mlflow import MlflowRun, MlflowTracker


def stored(run: MlflowRun) -> Any:
    return run.client.get_run(run.run_id)


def test_a_run_is_finished_with_params_tags_and_place(tracker: MlflowTracker) -> None:
    tags = {"note": "**mind**", "git_commit": "abc", "command": "run llm.api_key=x", "own@tag": "1"}
    with tracker.run("first", params={"loss": {"scale": 20.0}, "llm": {"api_key": "abc"}}, tags=tags) as run:
        assert stored(run).info.status == "RUNNING"
    result = stored(run)
    assert result.info.status == "FINISHED"
    assert result.info.run_name == "first"
    assert result.data.params == {"loss.scale": "20.0", "llm.api_key": "********"}
    assert result.data.tags["mlflow.note.content"] == "**mind**"
    assert result.data.tags["mlflow.source.git.commit"] == "abc"
    assert result.data.tags["mlflow.source.name"] == "run llm.api_key=********"
    assert result.data.tags["own_at_tag"] == "1"
    assert result.info.artifact_uri.startswith(Path(tracker.root, "mlruns", "embexp").as_uri())


def test_a_bare_mlflow_ui_finds_the_database(tracker: MlflowTracker) -> None:
    assert tracker.address == f"sqlite:///{Path(tracker.root).resolve()}/mlflow.db"
    assert (Path(tracker.root) / "mlflow.db").is_file()


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no token=abc"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_an_exception_ends_the_run_and_is_named(
    tracker: MlflowTracker, error: BaseException, status: str
) -> None:
    with pytest.raises(type(error)), tracker.run("bad", params={}, tags={}) as run:
        raise error
    assert stored(run).info.status == status
    assert stored(run).data.tags["error"].startswith(type(error).__name__)
    assert "abc" not in stored(run).data.tags["error"]


def test_a_failing_child_is_marked_apart_from_its_parent(tracker: MlflowTracker) -> None:
    with tracker.run("parent", params={}, tags={}) as run:
        with pytest.raises(ValueError, match="boom"), run.child("child", params={"a": 1}, tags={}) as child:
            raise ValueError("boom")
        with run.child("second", params={}, tags={}) as second:
            assert second.experiment == "embexp"
    assert [stored(one).info.status for one in (run, child, second)] == ["FINISHED", "FAILED", "FINISHED"]
    assert stored(child).data.tags["mlflow.parentRunId"] == run.run_id
    assert stored(child).data.params == {"a": "1"}


def test_metrics_go_in_one_call_with_steps_nan_and_none(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    with tracker.run("metrics", params={}, tags={}) as run:
        real = run.client.log_batch
        monkeypatch.setattr(run.client, "log_batch", lambda *a, **k: calls.append(k) or real(*a, **k))
        run.log_metrics({"ndcg@10": 0.5, "loss": math.nan, "absent": None}, step=3)  # type: ignore[dict-item]
        run.log_metrics({"ndcg@10": 0.6}, step=4)
        run.log_metrics({})
    assert len(calls) == 2
    assert stored(run).data.metrics["ndcg_at_10"] == 0.6
    assert math.isnan(stored(run).data.metrics["loss"])
    assert "absent" not in stored(run).data.metrics
    history = run.client.get_metric_history(run.run_id, "ndcg_at_10")
    assert [(point.step, point.value) for point in history] == [(3, 0.5), (4, 0.6)]


def test_many_params_and_long_ones_fit(tracker: MlflowTracker) -> None:
    params = {f"key{number}": number for number in range(250)} | {"long": "x" * 9000}
    with tracker.run("wide", params=params, tags={"long": "y" * 9000}) as run:
        pass
    assert len(stored(run).data.params) == 251
    assert len(stored(run).data.params["long"]) == 6000
    assert len(stored(run).data.tags["long"]) == 8000


def test_files_and_folders_are_stored_under_their_names(tracker: MlflowTracker, tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "data" / "deep" / "a.txt").write_text("a")
    (tmp_path / "report.md").write_text("r")
    with tracker.run("files", params={}, tags={}) as run:
        run.log_artifact(tmp_path / "report.md", folder="reports")
        run.log_artifact(tmp_path / "data")
        with pytest.raises(TrackingError, match=r"nothing\.txt does not exist"):
            run.log_artifact(tmp_path / "nothing.txt")
    kept = Path(tracker.root) / "mlruns" / "embexp" / run.run_id / "artifacts"
    assert (kept / "reports" / "report.md").read_text() == "r"
    assert (kept / "data" / "deep" / "a.txt").read_text() == "a"


@pytest.mark.parametrize(("source", "kind"), [("/data/kb", "local"), ("hf://datasets/beir", "hf")])
def test_the_data_set_is_recorded(tracker: MlflowTracker, source: str, kind: str) -> None:
    with tracker.run("data", params={}, tags={}) as run:
        run.log_dataset(name="kb", source=source, digest=kind * 32)
    (result,) = stored(run).inputs.dataset_inputs
    assert (result.dataset.name, result.dataset.digest, result.dataset.source_type) == (
        "kb",
        (kind * 32)[:36],
        kind,
    )
    assert source in result.dataset.source


def test_two_runs_record_the_same_data_set_at_the_same_time(tracker: MlflowTracker) -> None:
    """The second run records the data set between the first one's look for it and its insertion."""
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    def record_first(*_: object) -> None:
        second.log_dataset(name="kb", source="/data/kb", digest="a")

    with tracker.run("one", params={}, tags={}) as first, tracker.run("two", params={}, tags={}) as second:
        event.listen(Session, "before_flush", record_first, once=True)
        first.log_dataset(name="kb", source="/data/kb", digest="a")
    for run in (first, second):
        (result,) = stored(run).inputs.dataset_inputs
        assert (result.dataset.name, result.dataset.digest) == ("kb", "a")


def test_threads_do_not_mix_their_runs(tracker: MlflowTracker) -> None:
    def work(number: int) -> None:
        with tracker.run(f"thread {number}", params={}, tags={}) as run:
            run.log_metrics({"number": number})
            seen[number] = run

    seen: dict[int, MlflowRun] = {}
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: stored(run).data.metrics["number"] for number, run in seen.items()} == {
        0: 0,
        1: 1,
        2: 2,
        3: 3,
    }


def test_the_environment_names_the_server_unless_the_config_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert MlflowTracker().address == "http://server:5000"
    assert MlflowTracker(uri="sqlite:///own.db").address == "sqlite:///own.db"


@pytest.mark.parametrize("uri", ["./mlruns", "mlruns", "/abs/mlruns", "file:./mlruns", "file:///abs/mlruns"])
def test_a_plain_folder_is_refused_with_an_address_that_works(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"tracker\.uri is .*plain folder.*sqlite:///.*mlflow\.db"):
        MlflowTracker(uri=uri)


def test_a_plain_folder_in_the_environment_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI is"):
        MlflowTracker().prepare()


def test_an_experiment_needs_a_name() -> None:
    with pytest.raises(ConfigError, match=r"tracker\.experiment is empty"):
        MlflowTracker(experiment=" ")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"artifacts": "s3://bucket/x"}, "s3://bucket/x"),
        ({"uri": "http://server"}, None),
        ({"artifacts": "/files", "experiment": "a b/c"}, "file:///files/a_b_c"),
    ],
)
def test_where_a_new_experiment_keeps_its_files(options: dict[str, str], expected: str | None) -> None:
    assert MlflowTracker(**options)._artifacts() == expected  # type: ignore[arg-type]


def test_a_server_that_is_not_there_is_named_quickly() -> None:
    with pytest.raises(
        TrackingError, match=r"No MLflow server answers at http://127\.0\.0\.1:9 .*tracker=none"
    ):
        MlflowTracker(uri="http://127.0.0.1:9").prepare()


class _NotMlflow(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()
        self.wfile.write(b"no such page")

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_that_is_not_mlflow_is_named() -> None:
    server = HTTPServer(("127.0.0.1", 0), _NotMlflow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(TrackingError, match=r"What answers at http://127\.0\.0\.1:\d+ is no MLflow"):
            MlflowTracker(uri=f"http://127.0.0.1:{server.server_port}").prepare()
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("nonsense://me:geheim@host/x", r"nonsense://me:\*{8}@host/x cannot be used: Can't load plugin"),
        ("postgresql+nodriver://host/x", "cannot be used"),
    ],
)
def test_an_unknown_database_is_named_without_its_password(uri: str, message: str) -> None:
    with pytest.raises(TrackingError, match=message) as caught:
        MlflowTracker(uri=uri).prepare()
    assert "geheim" not in str(caught.value)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy

    def absent(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setattr(sqlalchemy, "create_engine", absent)
    with pytest.raises(TrackingError, match=r"driver is not installed.*the package that holds psycopg"):
        MlflowTracker(uri="postgresql://host/x").prepare()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("I am a letter, not a database. " * 50)
    with pytest.raises(TrackingError, match="file is not a database"):
        MlflowTracker(root=str(tmp_path)).prepare()


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbexpError, match="is a file and would have to be a folder"):
        MlflowTracker(root=str(tmp_path / "file")).prepare()


def test_a_locked_database_is_named(tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SECONDS", 0.1)
    other = sqlite3.connect(Path(tracker.root) / "mlflow.db")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(TrackingError, match=r"database is locked.*nothing else locks it"):
            tracker.prepare()
    finally:
        other.close()


def test_a_deleted_experiment_is_named_with_the_way_back(tracker: MlflowTracker) -> None:
    doomed = MlflowTracker(root=tracker.root, experiment="doomed")
    opened = doomed._open()
    client, experiment_id = opened.client, opened.experiment_id
    client.delete_experiment(experiment_id)
    with pytest.raises(TrackingError, match=f"restore --experiment-id {experiment_id}"):
        doomed.prepare()


def test_an_experiment_that_another_process_has_just_created_is_used(tracker: MlflowTracker) -> None:
    opened = tracker._open()
    client, experiment_id = opened.client, opened.experiment_id

    class Late:
        """A client that sees the experiment only after it has failed to create it."""

        seen = False

        def get_experiment_by_name(self, name: str) -> Any:
            result = client.get_experiment_by_name(name) if self.seen else None
            self.seen = True
            return result

        def create_experiment(self, name: str, **options: Any) -> str:
            return client.create_experiment(name, **options)

    assert store._experiment_id(Late(), "embexp", None) == experiment_id  # type: ignore[arg-type]


def test_an_experiment_that_cannot_be_created_is_named(tracker: MlflowTracker) -> None:
    with pytest.raises(TrackingError, match="cannot be used"):
        MlflowTracker(root=tracker.root, experiment="x" * 600).prepare()


def test_a_store_that_fails_while_a_run_fails_does_not_hide_the_first_error(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: object) -> None:
        raise OSError("the disk has gone")

    with tracker.run("two", params={}, tags={}) as run:
        child = run.child("three", params={}, tags={})
        monkeypatch.setattr(run.client, "set_tag", gone)
        with pytest.raises(ValueError, match="first"), child:
            raise ValueError("first")
    assert "could not be marked as failed" in caplog.text


def test_the_user_is_unknown_where_the_system_does_not_say(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    with tracker.run("anonymous", params={}, tags={}) as run:
        pass
    assert stored(run).data.tags["mlflow.user"] == "unknown"


def test_a_database_in_memory_has_no_file() -> None:
    assert store.sqlite_file("sqlite:///:memory:") is None
    assert store.sqlite_file("postgresql://host/x") is None


def test_an_interrupted_creation_starts_over(tmp_path: Path) -> None:
    half_made = sqlite3.connect(tmp_path / "mlflow.db")
    half_made.execute("CREATE TABLE experiments (broken TEXT)")
    half_made.close()
    (tmp_path / "mlflow.db.creating").touch()
    tracker = MlflowTracker(root=str(tmp_path))
    tracker.prepare()
    with tracker.run("after", params={}, tags={}) as run:
        pass
    assert stored(run).info.status == "FINISHED"
    assert not (tmp_path / "mlflow.db.creating").exists()


def _one_run(root: str, number: int) -> None:
    with MlflowTracker(root=root).run(f"process {number}", params={"number": number}, tags={}) as run:
        for step in range(5):
            run.log_metrics({"ndcg@10": number}, step=step)


@pytest.mark.slow
def test_eight_processes_on_an_empty_folder_lose_no_run(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_one_run, args=(str(tmp_path), number)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8
    opened = MlflowTracker(root=str(tmp_path))._open()
    client, experiment_id = opened.client, opened.experiment_id
    runs = client.search_runs([experiment_id])
    assert sorted(run.data.metrics["ndcg_at_10"] for run in runs) == list(range(8))
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_folder_without_a_model_is_named(tracker: MlflowTracker, tmp_path: Path) -> None:
    with (
        tracker.run("model", params={}, tags={}) as run,
        pytest.raises(ModelError, match="holds no sentence"),
    ):
        run.log_model(tmp_path)


def test_models_are_not_stored_on_request(tracker: MlflowTracker, tmp_path: Path) -> None:
    without = MlflowTracker(root=tracker.root, log_model=False)
    with without.run("no model", params={}, tags={}) as run:
        run.log_model(tmp_path)
    assert not stored(run).outputs.model_outputs


def test_the_process_wide_address_is_restored(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    before = mlflow.get_tracking_uri()
    with store.tracking_address(tracker.address):
        assert mlflow.get_tracking_uri() == tracker.address
    assert mlflow.get_tracking_uri() == before
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:///mine.db"


@pytest.mark.slow
def test_a_model_is_stored_so_that_mlflow_loads_it(tracker: MlflowTracker, tmp_path: Path) -> None:
    import mlflow
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import BoW

    SentenceTransformer(modules=[BoW(vocab=["apple", "pear"])], device="cpu").save(str(tmp_path / "model"))
    with tracker.run("model", params={}, tags={}) as run:
        run.log_model(tmp_path / "model")
    with store.tracking_address(tracker.address):
        loaded = mlflow.sentence_transformers.load_model(f"runs:/{run.run_id}/model")
        served = mlflow.pyfunc.load_model(f"runs:/{run.run_id}/model")
        assert loaded.encode(["apple"]).tolist() == [[1.0, 0.0]]
        assert served.predict(["pear"]).tolist() == [[0.0, 1.0]]
    assert "MLFLOW_TRACKING_URI" not in os.environ
