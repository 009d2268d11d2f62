"""MLflow's own environment variables are honoured, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embexp.errors import ConfigError, RunMissingError, TrackingError
from embexp.tracking.mlflow import MlflowRun, MlflowTracker


def stored(run: MlflowRun) -> Any:
    return run.client.get_run(run.run_id)


def test_the_experiment_is_that_of_the_environment(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    with MlflowTracker(root=tracker.root).run("one", params={}, tags={}) as run:
        pass
    assert run.experiment == "theirs"
    assert run.client.get_experiment(stored(run).info.experiment_id).name == "theirs"
    assert "mlruns/theirs/" in stored(run).info.artifact_uri


def test_the_configuration_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")
    assert MlflowTracker(experiment="ours").experiment_name == "ours"
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    assert MlflowTracker().experiment_name == "embexp"


def test_an_experiment_by_id_alone_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "7")
    with pytest.raises(ConfigError, match=r"MLFLOW_EXPERIMENT_ID is 7.*set MLFLOW_EXPERIMENT_NAME"):
        MlflowTracker(root=str(tmp_path)).prepare()


def test_a_run_that_exists_is_logged_to_once(tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    with tracker.run("theirs", params={"before": 1}, tags={}) as theirs:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs.run_id)
    with tracker.run("ours", params={"loss": "mnrl"}, tags={"note": "n"}) as first:
        assert stored(first).info.status == "RUNNING"
        with first.child("finetune", params={}, tags={}) as child:
            pass
    with tracker.run("ours", params={"loss": "gist"}, tags={}) as second:
        pass
    assert first.run_id == theirs.run_id
    assert second.run_id != theirs.run_id
    assert stored(child).data.tags["mlflow.parentRunId"] == theirs.run_id
    assert stored(theirs).data.params == {"before": "1", "loss": "mnrl"}
    assert stored(theirs).info.run_name == "theirs"
    assert stored(theirs).info.status == "FINISHED"


def test_a_run_that_cannot_be_logged_to_is_told(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracker.run("theirs", params={"loss": "gist"}, tags={}) as theirs:
        pass

    def opened(expected: type[TrackingError], message: str, by: MlflowTracker = tracker) -> None:
        monkeypatch.setenv("MLFLOW_RUN_ID", theirs.run_id)
        with pytest.raises(expected, match=message), by.run("ours", params={"loss": "mnrl"}, tags={}):
            pass

    opened(TrackingError, "names a run with loss=gist, and this one has loss=mnrl")
    other = MlflowTracker(root=tracker.root, experiment="another")
    opened(TrackingError, "a run of the experiment 'embexp', not of 'another': set tracker.experiment", other)
    theirs.client.delete_run(theirs.run_id)
    opened(RunMissingError, "has been deleted in MLflow. MLFLOW_RUN_ID names it")


def test_several_runs_cannot_be_logged_to_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(ConfigError, match=r"MLFLOW_RUN_ID names one run.*-m opens several"):
        MlflowTracker(root=str(tmp_path)).prepare()


@pytest.mark.parametrize("address", ["localhost:5000", "tracking.example.org:80/mlflow"])
def test_an_address_without_a_scheme_is_told(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=f"lacks a scheme: write http://{address}"):
        MlflowTracker(uri=address)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI is .* lacks a scheme"):
        _ = MlflowTracker().address
