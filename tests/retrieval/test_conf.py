"""Every option of conf/model and conf/retriever can be built offline and says what it is for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml

CONF = Path(__file__).parents[2] / "conf"
FILES = sorted([*(CONF / "model").glob("*.yaml"), *(CONF / "retriever").glob("*.yaml")])

PLACEHOLDERS = {"base_url": "http://localhost:1/v1"}


def build(node: dict[str, Any]) -> Any:
    given = {
        key: build(value) if isinstance(value, dict) and "_target_" in value else value
        for key, value in node.items()
    }
    module, _, name = given.pop("_target_").rpartition(".")
    target = getattr(importlib.import_module(module), name)
    get_type_hints(target.__init__)
    return target(
        **{
            key: PLACEHOLDERS.get(key, "owner/name") if value == "???" else value
            for key, value in given.items()
        }
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_an_option_is_built_without_network(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    component = build(yaml.safe_load(text))

    assert text.startswith("# ")
    assert len(text.splitlines()) <= 25
    if file.parent.name == "model":
        assert component.name == file.stem
