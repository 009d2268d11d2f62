"""The private parts of libraries that fine-tuning relies on exist in the installed versions."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import embexp.finetuning
from embexp.finetuning.library_hooks import HOOKS

PACKAGE = Path(embexp.finetuning.__file__).parent


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.target)
def test_a_hook_exists(hook):
    if hook.target.startswith("peft"):
        pytest.importorskip("peft")
    module, _, attributes = hook.target.partition(":")
    value = importlib.import_module(module)
    for name in attributes.split("."):
        assert hasattr(value, name), f"{hook.target} is gone; {hook.used_in} relies on it: {hook.reason}"
        value = getattr(value, name)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.target)
def test_a_hook_is_used_where_it_says(hook):
    name = re.split(r"[:.]", hook.target)[-1]
    if name in ("get_last_lr", "calculate_loss"):
        name = "_last_lr"
    assert any(name in (PACKAGE / file).read_text() for file in hook.used_in.split(", "))
