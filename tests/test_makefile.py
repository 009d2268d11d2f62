"""``make clean`` never costs a run, and ``make clean-runs`` asks first."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RUNS = ("outputs/2026/run/outcome.json", "mlruns/1/meta.yaml", "mlflow.db")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in (*RUNS, ".venv/bin/python", "dist/embexp.whl", "outputs/README.md", "mlruns/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def make(project: Path, target: str, answer: str = "") -> int:
    done = subprocess.run(["make", target], cwd=project, input=answer, capture_output=True, text=True)
    return done.returncode


def test_clean_deletes_the_environment_and_leaves_the_runs(project: Path) -> None:
    assert make(project, "clean") == 0
    assert not (project / ".venv").exists()
    assert not (project / "dist").exists()
    assert all((project / name).is_file() for name in RUNS)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_runs_stay_unless_the_answer_is_yes(project: Path, answer: str) -> None:
    assert make(project, "clean-runs", answer) != 0
    assert all((project / name).is_file() for name in RUNS)


def test_runs_go_when_the_answer_is_yes(project: Path) -> None:
    assert make(project, "clean-runs", "y\n") == 0
    assert [name for name in RUNS if (project / name).exists()] == []
    assert (project / "outputs" / "README.md").is_file()
    assert (project / "mlruns" / "README.md").is_file()
    assert (project / ".venv" / "bin" / "python").is_file()
