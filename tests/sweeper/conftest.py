"""A sweep in the test's own process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from hydra.core.global_hydra import GlobalHydra

from tests.sweeper.parabola_sweeps import BASE, study_at

Sweep = Callable[..., optuna.Study]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """Run a sweep in this process and in an empty folder, and return its study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # Hydra then raises instead of printing
    monkeypatch.setattr("embexp.sweeper.report._plots", lambda *_: [])  # test_report.py draws them

    def run(*arguments: str) -> optuna.Study:
        from tests.sweeper import parabola

        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["parabola.py", *BASE, *arguments])
        parabola.main()
        return study_at(tmp_path / "sweep" / "study.db")

    return run
