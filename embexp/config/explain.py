"""Errors of Hydra and OmegaConf about a bad command line, in one sentence with the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from embexp.config.check import suggest
from embexp.config.overrides import in_quotes
from embexp.config.schema import OPTIONAL
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
        return _no_override(str(error.override))
    if at := re.match(r"Could not append to config. An item is already at '([^']+)'", str(error)):
        return ConfigError(f"{at.group(1)} exists already: leave out the + before it.")
    key = _unknown_key(str(error)) or _unknown_key(str(error.__cause__ or ""))
    if key:
        return ConfigError(
            f"{key} is not a key of the configuration: {_suggest_key(key, overrides, folders)}"
        )
    problem = str(error.__cause__ or error).splitlines()[0].strip().rstrip(".")
    at = re.search(r"full_key: (\S+)", f"{error}\n{error.__cause__}")
    return ConfigError(f"{at.group(1)}: {problem}." if at else f"{problem}.")


def unset_component(error: Exception, overrides: Sequence[str]) -> ConfigError | None:
    """Return the mistake behind an AssertionError of OmegaConf: a key of a component that is not chosen."""
    if not isinstance(error, AssertionError):
        return None
    keys = [text.lstrip("+").partition("=")[0] for text in overrides]
    for key in keys:
        name, dot, _ = key.partition(".")
        if dot and name in OPTIONAL:
            choice = {"tuned": "model@tuned", "forgetting": "benchmark@forgetting"}.get(name, name)
            return ConfigError(f"{key} needs an option of {choice}, which is null: add {choice}=NAME.")
    return None


def _no_override(text: str) -> ConfigError:
    key, equals, _ = text.partition("=")
    if equals and not re.fullmatch(r"[+~]{0,2}[A-Za-z_][\w.@/:$-]*", key, re.ASCII):
        return ConfigError(f"{key!r} in {text!r} cannot be a key: write key=value, without spaces around =.")
    return ConfigError(
        f"{text!r} is not an override: write key=value, and quote values that hold commas, "
        "brackets, quotes or other marks, as in 'key=\"a, b\"'."
    )


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
    searchpath = ",".join(in_quotes(f"file://{folder}") for folder in folders[1:])
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
