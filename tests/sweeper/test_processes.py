"""Several sweepers on one study, and sweepers that die: the total is exact, nothing is lost or done twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.sweeper.parabola_sweeps import finish, start, states, study_at, trial_lines, wait_for

FILES = [pytest.param("study.db", marks=pytest.mark.slow), "study.journal"]


def storage_option(name: str) -> str:
    return f"hydra.sweeper.storage={'sqlite:///' if name.endswith('.db') else ''}{name}"


@pytest.mark.slow
@pytest.mark.parametrize("storage", FILES)
def test_two_sweepers_at_once_keep_the_total(tmp_path: Path, storage: str) -> None:
    options = ["x=interval(0,9)", "hydra.sweeper.n_trials=10", "hydra.sweeper.winner=false"]
    (tmp_path / "meet").mkdir()  # the first trial of each waits for the other's: both have a part in it
    both = [start(tmp_path, *options, storage_option(storage)) for _ in range(2)]
    for process in both:
        finish(process)
    study = study_at(tmp_path / storage)
    assert states(study) == {"COMPLETE": 10}
    assert len(trial_lines(tmp_path)) == 10
    assert len({trial.params["x"] for trial in study.trials}) == 10
    assert len({line.split()[0] for line in trial_lines(tmp_path)}) == 2


@pytest.mark.parametrize("storage", FILES)
def test_a_killed_sweep_goes_on_and_loses_no_trial(tmp_path: Path, storage: str) -> None:
    options = ["x=interval(0,9)", "hydra.sweeper.n_trials=5", "hydra.sweeper.winner=false"]
    (tmp_path / "pause").write_text("2")
    first = start(tmp_path, *options, storage_option(storage))
    wait_for((tmp_path / "paused").exists, first)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    (tmp_path / "pause").unlink()
    assert len(trial_lines(tmp_path)) == 2
    finish(start(tmp_path, *options, storage_option(storage)))
    study = study_at(tmp_path / storage)
    assert states(study) == {"COMPLETE": 5, "FAIL": 1}
    assert len(trial_lines(tmp_path)) == 5
    [cut] = [trial for trial in study.trials if trial.state.name == "FAIL"]
    [again] = [trial for trial in study.trials if trial.user_attrs.get("repeats") == cut.number]
    assert cut.user_attrs["error"] == "its process ended"
    assert again.params == cut.params  # the very trial that was cut off is done, not another


def test_a_sweep_killed_again_and_again_within_one_trial_ends_with_all_its_trials(tmp_path: Path) -> None:
    """More kills than the trial has attempts, each while the very same values run."""
    options = ["x=interval(0,9)", "hydra.sweeper.n_trials=3", "hydra.sweeper.winner=false"]
    options += ["hydra.sweeper.retries=1", storage_option("study.journal")]
    (tmp_path / "pause").touch()
    for _ in range(3):
        sweeper = start(tmp_path, *options)
        wait_for((tmp_path / "paused").exists, sweeper)
        os.kill(sweeper.pid, signal.SIGKILL)
        sweeper.communicate()
        (tmp_path / "paused").unlink()
    (tmp_path / "pause").unlink()
    finish(start(tmp_path, *options))
    study = study_at(tmp_path / "study.journal")
    assert states(study) == {"COMPLETE": 3, "FAIL": 3}
    first, *others = [trial.params for trial in study.trials[:4]]
    assert others == [first] * 3
    assert study.trials[3].state.name == "COMPLETE"
    assert len(trial_lines(tmp_path)) == 3


def test_a_trial_that_crashes_its_process_is_given_up_and_replaced(tmp_path: Path) -> None:
    options = ["x=interval(0,9)", "name=crash_at_5", "hydra.sweeper.n_trials=2", "hydra.sweeper.winner=false"]
    options += ["hydra.sweeper.retries=0", storage_option("study.journal")]
    crashing = start(tmp_path, *options)
    crashing.communicate()
    assert crashing.returncode == -signal.SIGSEGV
    said = finish(start(tmp_path, *options))
    assert "Trial 0 is given up: its process crashed (Segmentation fault)" in said
    study = study_at(tmp_path / "study.journal")
    assert states(study) == {"FAIL": 1, "COMPLETE": 2}
    assert study.trials[0].params == {"x": 5.0}


@pytest.mark.slow
def test_a_living_sweeper_takes_over_the_trial_of_a_killed_one(tmp_path: Path) -> None:
    options = ["x=interval(0,9)", "hydra.sweeper.n_trials=4", "hydra.sweeper.winner=false"]
    (tmp_path / "pause").touch()
    first = start(tmp_path, *options, storage_option("study.journal"))
    wait_for((tmp_path / "paused").exists, first)
    (tmp_path / "pause").unlink()
    second = start(tmp_path, *options, storage_option("study.journal"))
    said = []
    while "waiting" not in (said[-1] if said else ""):  # nothing is left to start but the first one's trial
        assert second.stdout is not None
        said.append(second.stdout.readline())
        assert said[-1], said
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    finish(second)
    assert states(study_at(tmp_path / "study.journal")) == {"COMPLETE": 4, "FAIL": 1}
    assert len(trial_lines(tmp_path)) == 4


@pytest.mark.slow
def test_an_interrupted_sweep_does_not_count_the_interruption_as_a_failure(tmp_path: Path) -> None:
    options = ["x=interval(0,9)", "hydra.sweeper.n_trials=2", "hydra.sweeper.retries=0"]
    (tmp_path / "pause").touch()
    first = start(tmp_path, *options, storage_option("study.db"))
    wait_for((tmp_path / "paused").exists, first)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=600)
    (tmp_path / "pause").unlink()
    finish(start(tmp_path, *options, storage_option("study.db")))
    study = study_at(tmp_path / "study.db")
    assert states(study) == {"COMPLETE": 2, "FAIL": 1}
    assert study.trials[0].user_attrs["error"] == "interrupted"
