"""Every option of conf/llm is short, says what it is for, and fits its constructor."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from pydantic import TypeAdapter

CONF = Path(__file__).parents[2] / "conf" / "llm"
OPTIONS = sorted(CONF.glob("*.yaml"))
NEEDED = {"base_url": "http://localhost:8000/v1", "model": "some-model", "path": "journal.jsonl"}


def given(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {key: NEEDED[key] if value == "???" else value for key, value in loaded.items()}


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_an_option_fits_its_constructor(path: Path) -> None:
    options = given(path)
    module, _, name = options.pop("_target_").rpartition(".")
    target = getattr(importlib.import_module(module), name)
    hints = get_type_hints(target.__init__)
    for key, value in options.items():
        TypeAdapter(hints[key]).validate_python(value, strict=not isinstance(value, int))
    assert target(**options).model


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_an_option_is_short_and_says_what_it_is_for(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert len(lines) < 25
