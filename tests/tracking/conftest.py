"""One MLflow database for all tests of tracking, and no address from the environment."""

from __future__ import annotations

import pytest

from embexp.tracking.mlflow import MlflowTracker


@pytest.fixture(scope="session")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    """One database for all tests: MLflow takes seconds to create its tables."""
    made = MlflowTracker(root=str(tmp_path_factory.mktemp("tracked")))
    made.prepare()
    return made


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRACKING_URI", "EXPERIMENT_NAME", "EXPERIMENT_ID", "RUN_ID"):
        monkeypatch.delenv(f"MLFLOW_{name}", raising=False)
