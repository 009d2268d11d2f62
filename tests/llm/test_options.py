"""Every option of conf/llm is short, says what it is for, and fits its constructor."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from embexp.ranges import constructor_hints

CONF = Path(__file__).parents[2] / "conf" / "llm"
OPTIONS = sorted(CONF.glob("*.yaml"))
NEEDED = {"base_url": "http://localhost:8000/v1", "model": "some-model", "path": "journal.jsonl"}


def built(path: Path) -> Any:
    """Build an option from the composed configuration, whatever its file's defaults, and check its types."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(path.parents[1]), version_base="1.3"):
        composed: Any = OmegaConf.to_container(compose(f"llm/{path.stem}").llm)
    options = {key: NEEDED[key] if value == "???" else value for key, value in composed.items()}
    module, _, kind = options.pop("_target_").rpartition(".")
    target = getattr(importlib.import_module(module), kind)
    hints = constructor_hints(target)
    for key, value in options.items():
        TypeAdapter(hints[key]).validate_python(value, strict=not isinstance(value, int))
    return target(**options)


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_an_option_fits_its_constructor(path: Path) -> None:
    assert built(path).model


def test_an_option_may_extend_another(tmp_path: Path) -> None:
    shutil.copytree(CONF, tmp_path / "llm")
    hosted = tmp_path / "llm" / "hosted.yaml"
    hosted.write_text(
        "# A service of one's own.\ndefaults: [openai_compatible, _self_]\nbase_url: https://llm.example/v1\n"
    )
    llm = built(hosted)
    assert (llm.model, llm.base_url, llm.max_concurrency) == ("some-model", "https://llm.example/v1", 16)


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_an_option_is_short_and_says_what_it_is_for(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert len(lines) < 25
