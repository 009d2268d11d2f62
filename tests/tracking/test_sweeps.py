"""What a sweep needs from the tracker: resumed runs, nested trials, tags, and pruned trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embexp.errors import PrunedError, TrackingError
from embexp.tracking.mlflow import MlflowRun, MlflowTracker


def stored(run: MlflowRun) -> Any:
    return run.client.get_run(run.run_id)


def test_a_resumed_run_is_running_and_then_finished(tracker: MlflowTracker) -> None:
    with tracker.run("study", params={"model": "tiny"}, tags={}) as first:
        pass
    with MlflowTracker(root=tracker.root).resume(first.run_id) as second:
        assert stored(second).info.status == "RUNNING"
        second.log_metrics({"trials": 3})
    assert stored(first).info.status == "FINISHED"
    assert stored(first).data.metrics == {"trials": 3}
    assert stored(first).data.params == {"model": "tiny"}


def test_a_failed_run_that_is_resumed_is_no_failure(tracker: MlflowTracker) -> None:
    with pytest.raises(ValueError, match="x"), tracker.run("flaky", params={}, tags={}) as run:
        raise ValueError("x")
    assert stored(run).info.status == "FAILED"
    with tracker.resume(run.run_id):
        pass
    assert stored(run).info.status == "FINISHED"
    assert "error" not in stored(run).data.tags


def test_an_unknown_run_cannot_be_resumed(tracker: MlflowTracker) -> None:
    with pytest.raises(TrackingError, match="not found"), tracker.resume("0" * 32):
        pass


def test_a_trial_is_nested_under_its_study_by_another_tracker(tracker: MlflowTracker) -> None:
    with tracker.run("study", params={}, tags={}) as study:
        opened = MlflowTracker(root=tracker.root).run(
            "trial 3", params={"lr": 0.1}, tags={"trial": "3", "parent_run_id": study.run_id}
        )
        with opened as trial, trial.child("finetune", params={}, tags={}) as stage:
            pass
    assert stored(trial).data.tags["mlflow.parentRunId"] == study.run_id
    assert stored(trial).data.params == {"lr": "0.1"}
    assert stored(stage).data.tags["mlflow.parentRunId"] == trial.run_id


def test_an_ended_run_can_be_tagged_without_secrets(tracker: MlflowTracker) -> None:
    with tracker.run("tagged", params={}, tags={}) as run:
        pass
    tracker.tag(run.run_id, {"best": "true", "note": "a note", "command": "run llm.api_key=abc"})
    tags = stored(run).data.tags
    assert (tags["best"], tags["mlflow.note.content"]) == ("true", "a note")
    assert tags["mlflow.source.name"] == "run llm.api_key=********"


def test_a_pruned_run_is_tagged_and_has_not_failed(tracker: MlflowTracker) -> None:
    opened = tracker.run("pruned", params={}, tags={})
    with pytest.raises(PrunedError), opened as run, run.child("finetune", params={}, tags={}) as child:
        raise PrunedError("trial 3 at step 20")
    for one in (run, child):
        assert stored(one).info.status == "FINISHED"
        assert stored(one).data.tags["pruned"] == "true"
        assert stored(one).data.tags["mlflow.note.content"] == "Pruned: trial 3 at step 20"
        assert "error" not in stored(one).data.tags


def test_everything_works_the_same_in_postgresql(postgres: str, tmp_path: Path) -> None:
    tracker = MlflowTracker(uri=postgres, artifacts=str(tmp_path / "files"))
    tracker.prepare()
    with tracker.run("study", params={"model": "tiny"}, tags={}) as study:
        opened = tracker.run("trial", params={"lr": 0.1}, tags={"parent_run_id": study.run_id})
        with opened as trial:
            trial.log_metrics({"ndcg@10": 0.5}, step=1)
            (tmp_path / "note.txt").write_text("n")
            trial.log_artifact(tmp_path / "note.txt")
    with tracker.resume(study.run_id):
        tracker.tag(trial.run_id, {"best": "true"})
    assert stored(study).info.status == "FINISHED"
    assert stored(trial).data.metrics == {"ndcg_at_10": 0.5}
    assert stored(trial).data.tags["best"] == "true"
    assert stored(trial).data.tags["mlflow.parentRunId"] == study.run_id
    assert [one.path for one in trial.client.list_artifacts(trial.run_id)] == ["note.txt"]
