"""Every option of conf/llm is short, says what it is for, and fits its constructor."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from omegaconf import OmegaConf
from pydantic import TypeAdapter

from embexp import compose_config

CONF = Path(__file__).parents[2] / "conf" / "llm"
OPTIONS = sorted(CONF.glob("*.yaml"))
NEEDED = {"base_url": "http://localhost:8000/v1", "model": "some-model", "path": "journal.jsonl"}


def missing_keys(name: str) -> list[str]:
    """Return the keys to which an option of conf/llm gives no value."""
    return list(OmegaConf.missing_keys(OmegaConf.load(CONF / f"{name}.yaml")))


def built(name: str, *, folder: Path | None = None) -> Any:
    """Build an option from the composed configuration, whatever its file's defaults, and check its types."""
    needed = [f"llm.{key}={NEEDED[key]}" for key in missing_keys(name)] if folder is None else []
    options: Any = OmegaConf.to_container(compose_config(f"llm={name}", *needed, config_dir=folder).llm)
    module, _, kind = options.pop("_target_").rpartition(".")
    target = getattr(importlib.import_module(module), kind)
    hints = get_type_hints(target.__init__)
    for key, value in options.items():
        TypeAdapter(hints[key]).validate_python(value, strict=not isinstance(value, int))
    return target(**options)


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_an_option_fits_its_constructor(path: Path) -> None:
    assert built(path.stem).model


def test_an_option_may_extend_another(tmp_path: Path) -> None:
    (tmp_path / "llm").mkdir()
    (tmp_path / "llm" / "hosted.yaml").write_text(
        "# A service of one's own.\n"
        "defaults: [openai_compatible, _self_]\n"
        "model: small\n"
        "base_url: https://llm.example/v1\n"
    )
    llm = built("hosted", folder=tmp_path)
    assert (llm.model, llm.base_url, llm.max_concurrency) == ("small", "https://llm.example/v1", 16)


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_an_option_is_short_and_says_what_it_is_for(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert len(lines) < 25
