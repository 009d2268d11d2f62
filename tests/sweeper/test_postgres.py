"""A study in a real PostgreSQL: the total of several sweepers is exact, and dead ones are noticed at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from embexp.sweeper.stores import PostgresStore
from tests.sweeper.parabola_sweeps import finish, only_study, start, states, trial_lines, wait_for

pytestmark = pytest.mark.slow


def study_of(address: str) -> optuna.Study:
    return only_study(optuna.storages.RDBStorage(address))


def test_three_sweepers_at_once_keep_the_total(tmp_path: Path, postgres: str) -> None:
    options = ["x=interval(0,9)", "hydra.sweeper.n_trials=12", "hydra.sweeper.winner=false"]
    (tmp_path / "meet").mkdir()  # the first trial waits for another sweeper's: two of them have a part in it
    processes = [start(tmp_path, *options, f"hydra.sweeper.storage={postgres}") for _ in range(3)]
    for process in processes:
        finish(process)
    assert states(study_of(postgres)) == {"COMPLETE": 12}
    assert len(trial_lines(tmp_path)) == 12
    assert len({line.split()[0] for line in trial_lines(tmp_path)}) >= 2


def test_a_killed_sweeper_s_trial_is_repeated_once(tmp_path: Path, postgres: str) -> None:
    options = ["x=interval(0,9)", "hydra.sweeper.n_trials=3", "hydra.sweeper.winner=false"]
    (tmp_path / "pause").touch()
    first = start(tmp_path, *options, f"hydra.sweeper.storage={postgres}")
    wait_for((tmp_path / "paused").exists, first)
    (tmp_path / "pause").unlink()
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    both = [start(tmp_path, *options, f"hydra.sweeper.storage={postgres}") for _ in range(2)]
    for process in both:
        finish(process)
    assert states(study_of(postgres)) == {"COMPLETE": 3, "FAIL": 1}
    assert len(trial_lines(tmp_path)) == 3


def test_a_name_is_alive_just_as_long_as_its_connection(postgres: str) -> None:
    ours, theirs = PostgresStore(postgres), PostgresStore(postgres)
    with ours.liveness_lock() as name:
        assert theirs.is_alive(name)
    assert not theirs.is_alive(name)
    assert not theirs.is_alive("nobody")


def test_a_lock_is_held_by_one_at_a_time(postgres: str, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from embexp.sweeper.stores import PostgresStore\n"
        f"with PostgresStore({postgres!r}).lock('a study'):\n    Path('held').touch(); time.sleep(3600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path)
    try:
        wait_for((tmp_path / "held").exists, holder)
        store = PostgresStore(postgres)
        with store.lock("another study"):
            pass  # a lock of another name is free
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with store.lock("a study"):
            pass  # the server takes the lock away with the connection
    finally:
        holder.kill()
