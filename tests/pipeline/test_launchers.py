"""Real multiruns of the tiny model through each launcher, each in processes of its own."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.pipeline_settings import TINY

pytestmark = pytest.mark.slow
SMALL = ["dataset=folder", "dataset.path=kb", "hydra.sweep.dir=jobs", *TINY, "trainer.evaluations=1"]


def multirun(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with ``-m`` as from a shell, which sets no number of threads."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    return subprocess.run(
        [sys.executable, "-m", f"embexp.{name}", "-m", *arguments],
        cwd=cwd,
        env={**environment, "HYDRA_FULL_ERROR": "0"},
        capture_output=True,
        text=True,
        timeout=1800,  # four jobs on two busy cores
        check=False,
    )


def tracked(folder: Path, query: str) -> list[tuple[str, ...]]:
    with sqlite3.connect(folder / "mlflow.db") as database:
        return database.execute(query).fetchall()


@pytest.mark.parametrize(
    ("needs", "options"),
    [
        ("joblib", ["hydra/launcher=cores", f"hydra.launcher.n_jobs={os.cpu_count()}"]),
        ("submitit", ["hydra/launcher=slurm_local"]),
        ("ray", ["hydra/launcher=ray_local"]),
    ],
    ids=["cores", "slurm_local", "ray_local"],
)
def test_two_jobs_finish_beside_one_that_fails(needs: str, options: list[str], kb: Path) -> None:
    pytest.importorskip(needs)
    folder = kb.parent
    done = multirun("finetune", *options, *SMALL, "dataset.path=kb,./kb,nowhere", cwd=folder)
    assert done.returncode == 2, done.stderr
    # Ray repeats what its workers write, with their process ids, whenever it comes to that.
    last = [line for line in done.stderr.strip().splitlines() if "(_run_job pid=" not in line][-1]
    assert "1 of 3 jobs failed. Job 2 (dataset.path=nowhere): nowhere does not" in last, last
    for job in ("0", "1"):
        assert (folder / "jobs" / job / "model" / "modules.json").is_file()
    statuses = tracked(folder, "SELECT status FROM runs WHERE name LIKE '%tiny mnrl%'")
    assert sorted(status for (status,) in statuses) == ["FAILED", "FINISHED", "FINISHED"]
    assert set(tracked(folder, "SELECT value FROM tags WHERE key = 'threads'")) == {("1",)}


def test_four_jobs_at_once_from_an_empty_folder_leave_four_whole_runs(kb: Path) -> None:
    pytest.importorskip("joblib")
    options = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=4", "seed=range(0,4)"]
    done = multirun("run", *options, *SMALL, cwd=kb.parent)
    assert done.returncode == 0, done.stderr
    query = """SELECT runs.status, count(DISTINCT metrics.key) FROM runs JOIN metrics USING (run_uuid)
        WHERE name LIKE '%tiny mnrl%' GROUP BY runs.run_uuid"""
    runs = tracked(kb.parent, query)
    assert len(runs) == 4
    assert {status for status, _ in runs} == {"FINISHED"}
    assert len({metrics for _, metrics in runs}) == 1
    seeds = tracked(kb.parent, "SELECT value FROM params WHERE key = 'seed'")
    assert sorted(seed for (seed,) in seeds) == [str(seed) for seed in range(4)]
