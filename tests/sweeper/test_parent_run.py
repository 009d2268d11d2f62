"""A study outlives its run in the tracker: deleted, or left behind in another one, it gets a new one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from embexp.sweeper.parent_run import open_parent_run, tag_best
from embexp.sweeper.study import REPORTED
from embexp.tracking.mlflow import MlflowTracker
from tests.sweeper.test_study import ledger


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    made = MlflowTracker(root=str(tmp_path_factory.mktemp("tracked")), experiment="first")
    made.prepare()
    return made


def parent(folder: Path, tracker: MlflowTracker) -> str:
    """Begin a sweep, as a command does, and return the id of its run."""
    with ledger(folder) as shared, open_parent_run(tracker, shared) as run:
        shared.note(REPORTED, 3)
        return run.run_id


def test_a_sweep_goes_on_in_its_run(tmp_path: Path, tracker: MlflowTracker) -> None:
    assert parent(tmp_path, tracker) == parent(tmp_path, tracker)


def test_a_deleted_run_is_replaced(
    tmp_path: Path, tracker: MlflowTracker, caplog: pytest.LogCaptureFixture
) -> None:
    first = parent(tmp_path, tracker)
    client = tracker._open().client
    client.delete_run(first)
    caplog.set_level(logging.WARNING)
    with ledger(tmp_path) as shared, open_parent_run(tracker, shared) as run:
        assert shared.study.user_attrs[REPORTED] is None  # the new run gets a report of its own
        assert client.get_run(run.run_id).info.status == "RUNNING"
        [trial] = shared.ask(1)
        trial.set_user_attr("run_id", first)
        shared.tell(trial.number, [1.0])
        tag_best(tracker, shared, shared.trials()[0])
    assert run.run_id != first
    assert f"The run {first} has been deleted in MLflow. The sweep goes on under a new parent" in caplog.text
    assert "Trial 0, the best, has no tag there" in caplog.text
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert parent(tmp_path, tracker) == run.run_id


@pytest.mark.parametrize("moved", ["experiment", "database"])
def test_a_tracker_that_moved_gets_a_new_run(
    moved: str, tmp_path: Path, tracker: MlflowTracker, caplog: pytest.LogCaptureFixture
) -> None:
    first = parent(tmp_path, tracker)
    root = str(tmp_path) if moved == "database" else tracker.root
    elsewhere = MlflowTracker(root=root, experiment="second")
    second = parent(tmp_path, elsewhere)
    assert second != first
    assert elsewhere._open().client.get_run(second).info.status == "FINISHED"
    assert ("was not found" if moved == "database" else "is in another experiment than second") in caplog.text
    assert "The sweep goes on under a new parent run" in caplog.text
