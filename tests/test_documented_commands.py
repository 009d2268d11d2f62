"""Each command in the documentation is one that embexp takes: its options compose, its flags are known."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, QuotedString, RangeSweep

import embexp
from embexp.cli import COMMANDS
from embexp.config.export_options import export_format
from embexp.config.migrate_options import migration
from embexp.config.overrides import hydra_arguments
from tests.test_docs import GUIDES, ROOT

HYDRA = {name for name in COMMANDS if not hasattr(importlib.import_module(f"embexp.{name}"), "parser")}
"""The commands that take overrides."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:python -m embexp\.|embexp )[^`]+)`")
COMMAND = re.compile(r"(?:\w+=\S+ )*(?:python -m embexp\.|embexp )(\w+)\b(.*)")
PLACEHOLDER = re.compile(r"…|<Tab>|\bOPTION\b|\bRUN\b|\bNAME\b|\bCOMMAND\b")
"""What stands for any value."""


def documented() -> Iterator[tuple[str, str, list[str]]]:
    """Yield the page, the command's name and the arguments of each command."""
    for page in GUIDES:
        text = page.read_text(encoding="utf-8")
        blocks = [block.replace("\\\n", " ") for kind, block in FENCE.findall(text) if kind in ("", "bash")]
        lines = "\n".join(blocks).splitlines()
        lines += [" ".join(command.split()) for command in INLINE.findall(FENCE.sub("", text))]
        for line in lines:
            found = COMMAND.fullmatch(line.strip())
            words = shlex.split(found[2].rstrip("& ").split(" > ")[0], comments=True) if found else []
            named = found and found[1] not in HYDRA and not words  # `embexp search` is a name, not a command
            own = "--config-dir" in words  # it has an option that its page has just described
            if found and not (named or own or PLACEHOLDER.search(line)):
                yield str(page.relative_to(ROOT)), found[1], words


DOCUMENTED = {(name, *words): page for page, name, words in documented()}
"""The page of each command; of several, the last."""


def first_of(override: Override) -> str:
    """Return an override with one of the values that it sweeps over, if it does."""
    value = override.value()
    if not override.is_sweep_override():
        return str(override.input_line)
    if isinstance(value, ChoiceSweep):
        value = value.list[0]
    elif isinstance(value, IntervalSweep | RangeSweep):
        value = value.start
    if isinstance(value, QuotedString):
        value = value.with_quotes()
    return f"{override.get_key_element()}={value}"


def test_the_documentation_has_commands() -> None:
    assert {name for name, *_ in DOCUMENTED} > {"run", "synthesize", "plan", "search", "compare", "export"}
    assert len(DOCUMENTED) > 60


@pytest.mark.parametrize("command", DOCUMENTED, ids=" ".join)
def test_a_documented_command_is_taken(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *words = command
    assert name in COMMANDS, DOCUMENTED[command]
    (tmp_path / "outputs/A/model").mkdir(parents=True)  # a run that pages speak of
    monkeypatch.chdir(tmp_path)
    if name in HYDRA:
        overrides = [word for word in hydra_arguments(words) if not word.startswith("-")]
        embexp.compose_config(*map(first_of, OverridesParser.create().parse_overrides(overrides)))
        return
    options = importlib.import_module(f"embexp.{name}").parser().parse_args(words)
    if name == "export":
        export_format(options.settings)
    elif name == "migrate":
        migration(options.settings)
