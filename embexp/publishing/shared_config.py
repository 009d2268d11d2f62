"""A run's configuration for strangers: without the paths and addresses of the machine that it ran on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath, PureWindowsPath
from typing import Any

from omegaconf import OmegaConf

_LEFT_OUT = ("paths", "tracker", "tuned")
_HIDDEN = "…"


def shared_config(config: Mapping[str, Any]) -> str:
    """Return a configuration as YAML: of a path only the last name, of an address nothing.

    Args:
        config: The resolved configuration, secrets already masked.
    """
    kept = {
        key: _shared(value) for key, value in config.items() if key not in _LEFT_OUT and value is not None
    }
    return OmegaConf.to_yaml(OmegaConf.create(kept))


def _shared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shared(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shared(each) for each in value]
    if not isinstance(value, str):
        return value
    if "://" in value:
        return _HIDDEN
    windows = PureWindowsPath(value)
    if windows.drive:
        return windows.name
    return PurePath(value).name if value.startswith(("/", "~", "..")) else value
