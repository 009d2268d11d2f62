"""The generated pages of the reference: every option of conf/, and everything that a layer exports."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
LAYERS = (
    "embexp",
    "embexp.data",
    "embexp.data.datasets",
    "embexp.data.readers",
    "embexp.models",
    "embexp.retrieval",
    "embexp.llm",
    "embexp.synthesis",
    "embexp.finetuning",
    "embexp.finetuning.losses",
    "embexp.benchmarking",
    "embexp.benchmarking.statistics",
    "embexp.exporting",
    "embexp.publishing",
    "embexp.reporting",
    "embexp.tracking",
    "embexp.pipeline",
    "embexp.sweeper",
    "embexp.config",
)
sys.path.insert(0, str(ROOT))


def api() -> str:
    """Return the page of the public API: a directive of mkdocstrings for each exported name."""
    parts = [
        "# Public API\n",
        "What `from embexp.LAYER import …` offers. Everything else is internal and may change. Generated "
        "from the code.\n",
    ]
    for layer in LAYERS:
        module = importlib.import_module(layer)
        parts.append(f"## {layer}\n\n{_first_paragraph(module.__doc__)}\n")
        for name in sorted(module.__all__, key=str.lower):
            value = getattr(module, name)
            defined = getattr(value, "__module__", None)
            if inspect.isclass(value) or inspect.isfunction(value):
                parts.append(f"::: {defined}.{value.__qualname__}\n    options:\n      heading_level: 3\n")
            else:
                parts.append(f"### {name}\n\n`{layer}.{name}`, a constant or a type.\n")
    return "\n".join(parts)


def options() -> str:
    """Return the page of every option: what it is for, and its keys with defaults and meanings."""
    parts = [
        "# Every option\n",
        "Each file of `conf/`, with its keys, their defaults and their meanings. Generated from the files "
        "and the code; [Configuration](../configuration.md) explains how they work together.\n",
    ]
    for group in sorted(path for path in CONF.rglob("*") if path.is_dir() and any(path.glob("*.yaml"))):
        parts.append(f"## `{group.relative_to(CONF)}`\n")
        for path in sorted(group.glob("*.yaml")):
            parts.append(_option(path))
    return "\n".join(parts)


def _option(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    comment = re.match(r"(?:#[^\n]*\n)+", text)
    about = " ".join(line.lstrip("# ") for line in (comment.group(0) if comment else "").splitlines())
    about = about.replace("@package _global_", "").strip()
    rows = list(_rows(yaml.safe_load(text) or {}))
    table = ["| key | default | meaning |", "|:--|:--|:--|", *rows] if rows else []
    return "\n".join([f"### {path.stem}\n", f"{_escaped(about)}\n" if about else "", *table, ""])


def _rows(settings: Any, prefix: str = "", meanings: dict[str, str] | None = None) -> Iterator[str]:
    """Yield a table row for each key; a component's keys have the meanings of its constructor's docstring."""
    if not isinstance(settings, dict):
        return
    known = _arguments(settings["_target_"]) if "_target_" in settings else meanings or {}
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if key == "defaults":
            chosen = ", ".join(_chosen(each) for each in value)
            yield f"| `defaults` | {chosen} | what it is composed of |"
        elif key == "_target_":
            yield f"| `{name}` | `{value}` | the class or function that is built |"
        elif isinstance(value, dict) and value:
            yield from _rows(value, f"{name}.")
        else:
            yield f"| `{name}` | {_shown(value)} | {known.get(str(key), '')} |"


def _chosen(default: Any) -> str:
    if isinstance(default, dict):
        return ", ".join(f"`{key}={value}`" for key, value in default.items())
    return f"`{default}`"


def _shown(value: Any) -> str:
    written = yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True).strip()
    return f"`{_escaped(written.removesuffix('...').strip())}`"


def _arguments(target: str) -> dict[str, str]:
    """Return what the docstring of a class or function says of each argument; nothing for other libraries."""
    if not target.startswith("embexp."):
        return {}
    module, _, name = target.rpartition(".")
    doc = inspect.cleandoc(getattr(importlib.import_module(module), name).__doc__ or "")
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", doc, re.MULTILINE | re.DOTALL)
    if section is None:
        return {}
    found = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", section.group(1), re.MULTILINE | re.DOTALL)
    return {argument: _escaped(" ".join(text.split()).replace("``", "`")) for argument, text in found}


def _first_paragraph(doc: str | None) -> str:
    return " ".join(inspect.cleandoc(doc or "").partition("\n\n")[0].split())


def _escaped(text: str) -> str:
    """Return text in which nothing ends a table's cell, and brackets outside of code are no links."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("[", "\\[") for part in parts[::2]]
    return "`".join(parts)
