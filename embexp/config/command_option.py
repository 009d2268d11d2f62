"""The option of a group that a command has for itself: no run has the group, so no configuration does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from embexp.config.check import as_declared, check_component, suggest
from embexp.config.explain import USER_MISTAKES, explain
from embexp.config.overrides import hydra_override
from embexp.errors import ConfigError, EmbexpError
from embexp.package import conf_dir
from embexp.storage.files import causes


def command_option(
    group: str,
    overrides: Sequence[str],
    *,
    default: str,
    short: Mapping[str, str],
    example: str,
    keys: Sequence[str],
) -> Any:
    """Return the component that a command's settings choose and fill.

    Args:
        group: The group, a folder of ``conf/``.
        overrides: ``GROUP=OPTION``, keys such as ``GROUP.KEY=VALUE``, and short names.
        default: The option without overrides.
        short: A short name -> what it stands for, the group or a key of it.
        example: How a setting looks, for the message.
        keys: Keys that every option has, for the message.

    Raises:
        ConfigError: An option, a key or a value is wrong; the message names the nearest valid one.
    """
    known = [*short, *(f"{group}.{key}" for key in keys)]
    arguments = [hydra_override(_in_group(override, group, short, example, known)) for override in overrides]
    name = f"{group}_command"
    root = OmegaConf.create({"defaults": ["_self_", {group: default}]})
    root[group] = DictConfig(None, flags={"struct": False})
    ConfigStore.instance().store(name=name, node=root, provider="embexp")
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            config = compose(name, arguments)
    except USER_MISTAKES as error:
        raise explain(error, arguments, [conf_dir()]) from error
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise ConfigError(f"{missing[0]} has no value: give it one, as in {missing[0]}=…")
    check_component(OmegaConf.to_container(config[group], resolve=True), group)
    try:
        return instantiate(as_declared(config[group]), _convert_="all")
    except InstantiationException as error:  # Hydra's, around what the constructor raised
        mistake = next((each for each in causes(error) if isinstance(each, EmbexpError)), None)
        raise mistake or error from error


def _in_group(override: str, group: str, short: Mapping[str, str], example: str, known: Sequence[str]) -> str:
    key, equals, value = override.partition("=")
    if not equals or (key not in (group, *short) and not key.startswith(f"{group}.")):
        raise ConfigError(
            f"{override!r} is not a setting of embexp.{group}, as in {example}: {suggest(key, known)}"
        )
    return f"{short.get(key, key)}={value}"
