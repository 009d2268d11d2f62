from __future__ import annotations

from pathlib import Path

import pytest

from embexp.models.tiny import TinyModel


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model's folder; copy it before changing anything in it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    TinyModel(dimension=16, layers=1).load().save(str(folder))
    return folder
