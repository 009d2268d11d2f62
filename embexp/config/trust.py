"""What the configuration of somebody else's run may name: the classes of embexp's options only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from embexp.errors import ConfigError
from embexp.package import conf_dir


def refuse_foreign_targets(config: DictConfig, source: Path) -> None:
    """Refuse a configuration that would import or call anything but embexp's own components.

    Hydra imports and calls whatever ``_target_`` names. In a configuration that comes with a folder it may
    therefore name only what an option file of embexp names. Nothing is imported to find out.

    Args:
        config: The configuration of a run, as it is in its folder.
        source: Its file, for the message.

    Raises:
        ConfigError: A ``_target_`` is not one of embexp's options; the message names it and its key.
    """
    values = OmegaConf.to_container(config, resolve=False)
    for place, target in _targets(values, ""):
        if target not in _own_targets():
            raise ConfigError(
                f"{source}: {place}_target_ is {target!r}, which is not a component of embexp and would run "
                "as code: if you trust this run's origin, add --trust (in Python: load_run(…, trust=True))."
            )


def _targets(node: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield each ``_target_`` below a node with the key of its component."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_":
                yield place, str(value)
            else:
                yield from _targets(value, f"{place}{key}.")
    elif isinstance(node, list):
        for number, item in enumerate(node):
            yield from _targets(item, f"{place.removesuffix('.')}[{number}].")


@cache
def _own_targets() -> frozenset[str]:
    """Return the classes that the option files of embexp name."""
    pattern = re.compile(r"^\s*(?:- )?_target_: *(embexp\.[\w.]+)", re.MULTILINE)
    files = conf_dir().rglob("*.yaml")
    return frozenset(name for path in files for name in pattern.findall(path.read_text(encoding="utf-8")))
