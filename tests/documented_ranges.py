"""The column *range* of docs/configuration.md, written from the types of constructors.

``python -m tests.documented_ranges`` writes it anew after a range has changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_object

from embexp.config.schema import COMPONENTS, Config
from embexp.ranges import constructor_hints, numbers_in, range_text

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "configuration.md"


def ranges(group: str) -> dict[str, str]:
    """The range of each numeric key of a group's options, by its key below the option."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "conf" / group).glob("*.yaml")):
        for prefix, target in _targets(yaml.safe_load(path.read_text(encoding="utf-8")), ""):
            for key, hint in constructor_hints(get_object(target)).items():
                if numbers_in(hint):
                    found.setdefault(prefix + key, []).append(range_text(hint))
    return {key: "; ".join(dict.fromkeys(texts)) for key, texts in found.items()}


def with_ranges(page: str) -> str:
    """The page with a column for ranges in each table of keys that has a number."""
    sections = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    return "".join(_section(section) for section in sections)


def _targets(node: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield prefix, str(node["_target_"])
        for key, value in node.items():
            yield from _targets(value, f"{prefix}{key}.")


def _section(section: str) -> str:
    name = re.match(r"## `?([\w -]+)`?\n", section)
    if name and name[1] in (*COMPONENTS, "teacher"):
        known = ranges(name[1])
    elif name and name[1] == "Top-level keys":
        known = {key: range_text(hint) for key, hint in constructor_hints(Config).items() if numbers_in(hint)}
    else:
        return section
    table = re.compile(r"^\| key \|.*?(?=^(?!\|)|\Z)", re.MULTILINE | re.DOTALL)
    return table.sub(lambda match: _table(match[0], known), section)


def _table(text: str, known: dict[str, str]) -> str:
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines()]
    if "range" in rows[0][2]:
        rows = [[*row[:2], *row[3:]] for row in rows]
    cells = [" range ", "---", *(_cell(row[0], known) for row in rows[2:])]
    if not any(cell.strip() for cell in cells[2:]):
        cells = []
    lines = [[*row[:2], cell, *row[2:]] for row, cell in zip(rows, cells, strict=True)] if cells else rows
    return "".join(f"|{'|'.join(line)}|\n" for line in lines)


def _cell(keys: str, known: dict[str, str]) -> str:
    found = [known[key] for key in re.findall(r"`([\w.]+)`", keys) if key in known]
    return f" {', '.join(dict.fromkeys(found))} " if found else " "


if __name__ == "__main__":
    PAGE.write_text(with_ranges(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
