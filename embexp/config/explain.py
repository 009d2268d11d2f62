"""Errors of Hydra and OmegaConf about a bad command line, in one sentence with the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from embexp.config.check import suggest
from embexp.errors import ConfigError

USER_MISTAKES = (HydraException, OmegaConfBaseException)
_EXTRAS = {"joblib": "launchers", "submitit_slurm": "launchers", "submitit_local": "launchers", "ray": "ray"}
"""The extra of embexp that installs each of Hydra's launchers."""


def explain(error: Exception, overrides: Sequence[str], folders: Sequence[Path]) -> ConfigError:
    """Return the error to report for one that Hydra raised while composing.

    Args:
        error: One of ``USER_MISTAKES``.
        overrides: The overrides on the command line.
        folders: The folders of option files, searched for valid names.
    """
    if isinstance(error, MissingConfigException):
        return _missing_option(error, folders)
    if "config directory" in str(error):
        problem = str(error).splitlines()[0].rstrip(".")
        return ConfigError(f"{problem}: name a folder that holds options as GROUP/OPTION.yaml.")
    if isinstance(error, OverrideParseException):
        return ConfigError(
            f"{error.override!r} is not an override: write key=value, and quote values that hold commas, "
            "brackets, quotes or other marks, as in 'key=\"a, b\"'."
        )
    key = _unknown_key(str(error)) or _unknown_key(str(error.__cause__ or ""))
    if key:
        return ConfigError(
            f"{key} is not a key of the configuration: {_suggest_key(key, overrides, folders)}"
        )
    text = " ".join(line.strip() for line in str(error.__cause__ or error).splitlines()[:2])
    at = re.search(r"full_key: (\S+)", f"{error}\n{error.__cause__}")
    place = f" (key {at.group(1)})" if at and at.group(1) not in text else ""
    return ConfigError(f"{text.replace(f'full_key: {at.group(1)}', '').strip() if at else text}{place}")


def _missing_option(error: MissingConfigException, folders: Sequence[Path]) -> ConfigError:
    missing = str(error.missing_cfg_file or "")
    group, _, option = missing.rpartition("/")
    if group == "hydra/launcher" and option in _EXTRAS:
        return ConfigError(
            f"hydra/launcher={option} is not installed, and this multirun needs it: "
            f'pip install "embexp[{_EXTRAS[option]}]".'
        )
    if not group or not error.options:
        known = _groups(folders)
        if group and group not in known:
            return ConfigError(f"{group}={option}: there is no group {group!r}; {suggest(group, known)}")
        return ConfigError(
            f"{missing} is not among the configuration's files; --info searchpath lists their folders."
        )
    return ConfigError(f"{group}={option} is not an option of {group}: {suggest(option, error.options)}")


def _unknown_key(text: str) -> str | None:
    match = re.search(r"Could not override '([^']+)'", text) or re.search(r"full_key: (\S+)", text)
    return match.group(1) if match and ("not in" in text or "Could not override" in text) else None


def _suggest_key(key: str, overrides: Sequence[str], folders: Sequence[Path]) -> str:
    parent, _, name = key.rpartition(".")
    return suggest(name, _keys_below(parent, overrides, folders))


def _keys_below(parent: str, overrides: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Compose again with the choices of options alone, and return the keys below ``parent``."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import DictConfig, OmegaConf

    groups = _groups(folders)
    choices = [item for item in overrides if item.partition("=")[0].partition("@")[0] in groups]
    GlobalHydra.instance().clear()
    searchpath = ",".join(f"file://{folder}" for folder in folders[1:])
    try:
        with initialize_config_dir(str(folders[0]), version_base="1.3"):
            user_folders = [f"hydra.searchpath=[{searchpath}]"] if searchpath else []
            config = compose("config", overrides=[*choices, *user_folders])
    except USER_MISTAKES:
        return sorted(groups)
    node = OmegaConf.select(config, parent) if parent else config
    keys = [str(name) for name in node] if isinstance(node, DictConfig) else []
    return keys if parent else sorted({*keys, *groups})


def _groups(folders: Sequence[Path]) -> set[str]:
    return {
        str(path.relative_to(folder)) for folder in folders for path in folder.rglob("*") if path.is_dir()
    }
