"""Sweeps over a task that costs nothing: how to start one, and what it left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna

TASK = Path(__file__).parent / "parabola.py"
BASE = ["-m", "hydra/sweeper=embexp_optuna", "hydra.sweeper.direction=minimize", "hydra.sweep.dir=sweep"]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a sweep in a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(TASK), *BASE, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def study_at(path: Path) -> optuna.Study:
    """Return the only study in a file."""
    if path.suffix == ".db":
        storage: optuna.storages.BaseStorage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    else:
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        storage = optuna.storages.JournalStorage(backend)
    return only_study(storage)


def only_study(storage: optuna.storages.BaseStorage) -> optuna.Study:
    [name] = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def states(study: optuna.Study) -> dict[str, int]:
    """Return how many trials are in which state."""
    found: dict[str, int] = {}
    for trial in study.trials:
        found[trial.state.name] = found.get(trial.state.name, 0) + 1
    return found


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a sweep to end well and return what it said."""
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    return out


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something is so, while the process runs."""
    end = time.monotonic() + 600
    while not condition():
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < end
        time.sleep(0.02)


def trial_lines(folder: Path) -> list[str]:
    """Return what each job wrote: process, x, y, name."""
    return (folder / "diary.txt").read_text().splitlines()
