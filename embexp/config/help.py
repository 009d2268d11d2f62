"""``--help`` of a command: Hydra's text for the command line, made in a third of Hydra's time.

Hydra's own ``--help`` also collects the options of its launchers, sweepers and loggers, which ours does not
show, and copies all that it has registered for each of its 140 questions about groups. A test compares the
two texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import Template

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigSource
from omegaconf import OmegaConf

from embexp.config.schema import register
from embexp.package import conf_dir

_HELP = ("--help", "-h")
_HYDRAS = "hydra"
"""The group of Hydra's own options, which --hydra-help shows."""


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for help, with no other flag; with one, Hydra itself answers."""
    flags = [argument for argument in arguments if argument.startswith("-")]
    return bool(flags) and all(flag in _HELP for flag in flags)


def help_text(command: str, arguments: Sequence[str]) -> str:
    """Return the help of a command: the groups with their options, and the configuration with overrides.

    Args:
        command: The name of the command, such as ``run``.
        arguments: The command line, with its overrides as Hydra reads them.
    """
    register()
    overrides = [argument for argument in arguments if argument not in _HELP]
    with initialize_config_dir(str(conf_dir()), job_name=command, version_base="1.3"):
        config = compose("config", overrides=overrides, return_hydra_config=True)
        sources = GlobalHydra.instance().config_loader().get_sources()
        groups = "".join(f"{name}: {', '.join(options)}\n" for name, options in sorted(_groups(sources)))
    template = Template(config.hydra.help.template)
    task = OmegaConf.masked_copy(config, [str(key) for key in config if key != _HYDRAS])
    return template.substitute(APP_CONFIG_GROUPS=groups, CONFIG=OmegaConf.to_yaml(task))


def _groups(sources: Sequence[ConfigSource], parent: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield each group with its options, and the groups inside of it."""
    for name in _listed(sources, parent, ObjectType.GROUP):
        group = f"{parent}/{name}" if parent else name
        if group == _HYDRAS:
            continue
        if options := _listed(sources, group, ObjectType.CONFIG):
            yield group, options
        yield from _groups(sources, group)


def _listed(sources: Sequence[ConfigSource], group: str, kind: ObjectType) -> list[str]:
    return sorted({name for source in sources if source.is_group(group) for name in source.list(group, kind)})
