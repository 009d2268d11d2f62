"""Overrides of the command line as people type them: paths and other texts need no quotes of Hydra's."""

from __future__ import annotations

from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from embexp.config.schema import COMPONENTS
from embexp.errors import ConfigError

_OPTUNA = ("hydra.sweeper.sampler.", "hydra.sweeper.pruner.")
"""Keys whose classes are Optuna's, so that no file of ours lists their arguments."""
_TEXTS = ("path", "id", "name", "encoding", "password")
"""The last part of keys whose values are texts, whatever they look like; so are those of columns."""
_MULTIRUN = ("-m", "--multirun")


def settable(override: str, *, multirun: bool = False) -> str:
    """Return an override that may also set an argument of a component that its option file leaves out.

    Hydra wants ``++`` before a key that no file names; whether the component knows it is checked later. Texts
    that Hydra would read as something else, such as the path ``2024_01_05``, or not at all, such as ``it's``
    and ``ümläut``, are quoted.

    Args:
        override: An argument of the command line.
        multirun: Whether commas separate the values of several runs.

    Raises:
        ConfigError: It holds bytes that are no text.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in override):
        shown = override.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        raise ConfigError(
            f"{shown} holds bytes that are not UTF-8: rename the file, or go to its folder first."
        )
    key, equals, value = override.partition("=")
    in_component = ("." in key and key.partition(".")[0] in COMPONENTS) or key.startswith(_OPTUNA)
    if not equals or not in_component:
        return override
    return f"++{key}={_quoted(key, value, multirun=multirun)}"


def asks_for_multirun(arguments: list[str]) -> bool:
    """Return whether a command line starts several runs."""
    return any(argument in _MULTIRUN or argument == "hydra.mode=MULTIRUN" for argument in arguments)


def _quoted(key: str, value: str, *, multirun: bool) -> str:
    """Return a value as it is if Hydra reads it as it is meant, else in quotes."""
    name = key.rpartition(".")[2]
    is_text = name in _TEXTS or name.endswith("_column")
    try:
        override = _parser().parse_override(f"++{key}={value}")
    except HydraException:
        opens = value.lstrip()[:1]
        return value if opens in "\"'[{" and not (is_text and opens in "[{") else _in_quotes(value)
    if not is_text or (override.is_sweep_override() and multirun):
        return value
    read = override.value()
    return value if read is None or isinstance(read, str) else _in_quotes(value)


def _in_quotes(value: str) -> str:
    quote = '"' if "'" in value and '"' not in value else "'"
    escaped = value.replace("\\" + quote, "\\\\" + quote).replace(quote, "\\" + quote)
    return f"{quote}{escaped}{quote}"


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()
