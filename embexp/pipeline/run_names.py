"""What past runs are called beside each other: by the settings in which they differ, and by nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from embexp.errors import DataError

_IGNORED = ("paths.", "tracker", "hydra.")
"""Settings that say where files are kept, and not what is computed."""
_LONGEST = 60


def settings_of(folder: Path) -> dict[str, str]:
    """Return the settings of a run by their dotted keys, and the option of each group by its name.

    Args:
        folder: The run's folder; one without a configuration has no settings.

    Raises:
        DataError: The configuration cannot be read.
    """
    from yaml import YAMLError

    file = folder / ".hydra" / "config.yaml"
    if not file.is_file():
        return {}
    try:
        config = OmegaConf.load(file)
        hydra = file.with_name("hydra.yaml")
        choices = (
            OmegaConf.select(OmegaConf.load(hydra), "hydra.runtime.choices") if hydra.is_file() else None
        )
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        first = str(error).partition("\n")[0]
        raise DataError(f"{file} cannot be read as YAML ({first}): restore it, or run again.") from error
    if not isinstance(config, DictConfig):
        raise DataError(f"{file} is not a mapping of keys to values.")
    flat = _flat(OmegaConf.to_container(config, resolve=False), "")
    options: dict[str, str] = {}
    if isinstance(choices, DictConfig):
        for name, choice in choices.items():
            group, _, package = str(name).partition("@")
            options[package or group] = str(choice)
    named = {key: option for key, option in options.items() if key in {k.partition(".")[0] for k in flat}}
    return {key: value for key, value in {**named, **flat}.items() if not key.startswith(_IGNORED)}


def _flat(node: Any, prefix: str) -> dict[str, str]:
    if not isinstance(node, dict):
        return {prefix.removesuffix("."): "null" if node is None else str(node)}
    values: dict[str, str] = {}
    for key, value in node.items():
        values |= _flat(value, f"{prefix}{key}.")
    return values


def differences(settings: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return, for each run, the settings in which not all runs agree.

    Where the runs chose different options of a group, the option stands for all of its settings, but for
    those that differ among runs with the same option.

    Args:
        settings: Each run's settings, as ``settings_of`` returns them.
    """
    keys = list(dict.fromkeys(key for each in settings for key in each))
    differing = [key for key in keys if len({each.get(key) for each in settings}) > 1]
    options = {key for key in differing if "." not in key}
    kept = [key for key in differing if not _follows(key, options, settings)]
    return [{key: each[key] for key in kept if key in each} for each in settings]


def _follows(key: str, options: set[str], settings: Sequence[Mapping[str, str]]) -> bool:
    """Return whether a setting is told by the option of its group that a run chose."""
    group = key.partition(".")[0]
    if key == group or group not in options:
        return False
    by_option: dict[str, set[str | None]] = {}
    for each in settings:
        by_option.setdefault(each.get(group, ""), set()).add(each.get(key))
    return all(len(values) == 1 for values in by_option.values())


def names_by_difference(runs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return folder -> ``loss=cosent seed=1``: what the run has and others have not, without what all share.

    Runs that do not differ in their settings, and those with very long ones, keep their folder's name, too.

    Args:
        runs: Folder, or what else the run was asked for by -> its settings.
    """
    own = differences(list(runs.values()))
    names = {
        folder: " ".join(f"{key}={value}" for key, value in each.items())
        for folder, each in zip(runs, own, strict=True)
    }
    repeated = {name for name in names.values() if list(names.values()).count(name) > 1}
    return {
        folder: folder
        if not name or len(name) > 3 * _LONGEST
        else f"{name} ({folder})"
        if name in repeated
        else name
        for folder, name in names.items()
    }
