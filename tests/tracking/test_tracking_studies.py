from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from embexp.errors import Pruned, TrackingError
from embexp.tracking import studies
from embexp.tracking.mlflow import MlflowTracker
from embexp.tracking.mlflow_run import MlflowRun


def stored(run: MlflowRun) -> Any:
    return run.client.get_run(run.run_id)


def test_a_study_that_goes_on_finds_its_run_again(tracker: MlflowTracker) -> None:
    with tracker.study("nightly", params={"model": "tiny"}, tags={"note": "n"}) as first:
        assert stored(first).data.tags["study"] == "nightly"
    assert stored(first).info.status == "FINISHED"
    again = MlflowTracker(root=tracker.root)
    with again.study("nightly", params={"model": "other"}, tags={}) as second:
        assert second.run_id == first.run_id
        assert stored(second).info.status == "RUNNING"
    assert stored(second).data.params == {"model": "tiny"}


def test_a_study_that_failed_and_went_on_is_no_failure(tracker: MlflowTracker) -> None:
    with pytest.raises(ValueError, match="x"), tracker.study("flaky", params={}, tags={}) as run:
        raise ValueError("x")
    assert stored(run).info.status == "FAILED"
    with tracker.study("flaky", params={}, tags={}):
        pass
    assert stored(run).info.status == "FINISHED"
    assert "error" not in stored(run).data.tags


def test_studies_of_other_names_are_other_runs(tracker: MlflowTracker) -> None:
    with tracker.study("it's", params={}, tags={}) as one, tracker.study("its", params={}, tags={}) as two:
        assert one.run_id != two.run_id


def test_a_name_that_cannot_be_searched_is_refused(tracker: MlflowTracker) -> None:
    with (
        pytest.raises(TrackingError, match="both kinds of quotation marks"),
        tracker.study("a'b\"c", params={}, tags={}),
    ):
        pass


def test_two_sweepers_that_begin_one_study_at_once_share_its_oldest_run(tracker: MlflowTracker) -> None:
    with tracker.study("shared", params={}, tags={}) as first:
        pass
    client, experiment_id = tracker._open()
    late = client.create_run(experiment_id, tags={"study": "shared"}).info.run_id
    assert studies.settle(client, experiment_id, "shared", late) == first.run_id
    assert client.get_run(late).info.lifecycle_stage == "deleted"


def test_trials_stand_under_their_study_with_their_own_name_and_parameters(tracker: MlflowTracker) -> None:
    with tracker.study("trials", params={}, tags={}) as study:
        nested = replace(tracker, parent=study.run_id, run_name="trial 3")
        opened = nested.run("docs tiny mnrl", params={"lr": 0.1}, tags={"trial": "3"})
        with opened as trial, trial.child("finetune", params={}, tags={}) as stage:
            pass
    assert stored(trial).data.tags["mlflow.parentRunId"] == study.run_id
    assert stored(trial).info.run_name == "trial 3"
    assert stored(trial).data.params == {"lr": "0.1"}
    assert stored(stage).data.tags["mlflow.parentRunId"] == trial.run_id


def test_the_best_trials_are_tagged_and_no_others(tracker: MlflowTracker) -> None:
    runs = []
    with tracker.study("best", params={}, tags={}) as study:
        nested = replace(tracker, parent=study.run_id)
        for number in range(3):
            with nested.run(f"trial {number}", params={}, tags={}) as run:
                runs.append(run)
        study.mark_best([runs[0].run_id])
        study.mark_best([runs[1].run_id, runs[2].run_id])
    assert [stored(run).data.tags.get("best") for run in runs] == [None, "true", "true"]


def test_a_pruned_run_is_tagged_and_has_not_failed(tracker: MlflowTracker) -> None:
    opened = tracker.run("pruned", params={}, tags={})
    with pytest.raises(Pruned), opened as run, run.child("finetune", params={}, tags={}) as child:
        raise Pruned("trial 3 at step 20")
    for one in (run, child):
        assert stored(one).info.status == "KILLED"
        assert stored(one).data.tags["pruned"] == "true"
        assert "error" not in stored(one).data.tags


def test_tags_can_be_added_and_hold_no_secret(tracker: MlflowTracker) -> None:
    with tracker.run("tagged", params={}, tags={}) as run:
        run.set_tags({"note": "see [the config](x)", "command": "run llm.api_key=abc"})
    assert stored(run).data.tags["mlflow.note.content"] == "see [the config](x)"
    assert stored(run).data.tags["mlflow.source.name"] == "run llm.api_key=********"


def test_runs_and_studies_work_the_same_in_postgresql(postgres: str, tmp_path: Any) -> None:
    tracker = MlflowTracker(uri=postgres, artifacts=str(tmp_path / "files"))
    tracker.prepare()
    with tracker.study("nightly", params={"model": "tiny"}, tags={}) as study:
        with replace(tracker, parent=study.run_id).run("trial", params={"lr": 0.1}, tags={}) as trial:
            trial.log_metrics({"ndcg@10": 0.5}, step=1)
            (tmp_path / "note.txt").write_text("n")
            trial.log_artifact(tmp_path / "note.txt")
        study.mark_best([trial.run_id])
    with tracker.study("nightly", params={}, tags={}) as again:
        assert again.run_id == study.run_id
    assert stored(trial).data.metrics == {"ndcg_at_10": 0.5}
    assert stored(trial).data.tags["best"] == "true"
    assert [one.path for one in trial.client.list_artifacts(trial.run_id)] == ["note.txt"]
