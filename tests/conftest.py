"""What all tests share: no network, one thread, and a way to run a command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import postgres_server

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models run faster on one thread than on two
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

# The same examples each time: a change is refused for what it breaks, and not for what was drawn.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")

pytest_plugins = ["tests.small_run"]

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Run ``python -m embexp.NAME ARGUMENTS`` in an empty folder and return the finished process."""

    def run(
        name: str, *arguments: str, cwd: Path = tmp_path, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "HYDRA_FULL_ERROR": "0", "OMP_NUM_THREADS": "1", **variables}
        return subprocess.run(
            [sys.executable, "-m", f"embexp.{name}", *arguments],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def postgres_address() -> Iterator[str]:
    """Start a PostgreSQL server for all tests that use one; skip them where none is installed."""
    if reason := postgres_server.why_not():
        pytest.skip(reason)
    with postgres_server.started() as address:
        yield address


@pytest.fixture
def postgres(postgres_address: str) -> str:
    """Return the address of an empty PostgreSQL database of this test's own."""
    return postgres_server.new_database(postgres_address, f"test_{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model's folder; copy it before changing anything in it."""
    from embexp.models.tiny import TinyModel

    folder = tmp_path_factory.mktemp("saved") / "model"
    TinyModel(dimension=16, layers=1).load().save(str(folder))
    return folder
