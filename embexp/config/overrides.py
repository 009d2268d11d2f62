"""Overrides of the command line as people type them: paths and other texts need no quotes of Hydra's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from embexp.config.schema import COMPONENTS
from embexp.errors import ConfigError
from embexp.package import conf_dir

_FOLDERS = ("dir", "root", "cache", "folder", "artifacts")
_AT_HOME = (*_FOLDERS, "examples", "prompts", "model_path")
"""The last part of keys whose values may begin with ``~`` here; what reads a ``path`` allows it itself."""
PATH_KEYS = (*_AT_HOME, "path")
"""The last part of keys whose values are files or folders."""
_TEXTS = (
    *(*PATH_KEYS, "id", "name", "encoding", "password", "subdir", "storage", "study_name", "uri"),
    *("experiment", "register", "model", "revision", "guide", "reranker", "query_prompt", "passage_prompt"),
)
"""The last part of keys whose values are texts, whatever they look like; so are those of columns."""
_MULTIRUN = ("-m", "--multirun")
_RERUN = "--experimental-rerun"
_CONFIG_DIR = ("--config-dir", "-cd")
_FLAGS_WITH_VALUE = (
    *(*_CONFIG_DIR, "--config-path", "-cp", "--config-name", "-cn", "--package", "-p"),
    *("--cfg", "-c", "--info", "-i", "--shell-completion", "-sc", _RERUN),
)
_SWEEP = re.compile(r"\s*(choice|range|interval|glob|tag|sort|shuffle)\(.*", re.S)
"""Hydra's functions, in a value that is meant as a sweep although its key holds a text, or has a mistake."""
_CHOICE = re.compile(r"\s*choice\((.*)\)\s*", re.S)
"""Hydra refuses null inside of choice(…), where it also loses quotes, and takes both in a list without it."""
_ALONE = (r"(?<![\w'\"./-])", r"(?![\w'\"./-])")
"""What stands before and after a word that is a whole value."""


def hydra_arguments(arguments: Sequence[str]) -> list[str]:
    """Return a command line with its overrides as Hydra reads them, behind its flags.

    Hydra's parser refuses overrides both before and behind a flag.

    Raises:
        ConfigError: An override cannot be meant so (see ``hydra_override``), or a flag is refused.
    """
    if file := _value_of((_RERUN,), arguments):
        raise _no_rerun(Path(file[0]))
    multirun = asks_for_multirun(arguments)
    flags, overrides = [], []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if before in _FLAGS_WITH_VALUE or argument.startswith("-"):
            flags.append(argument)
        else:
            overrides.append(hydra_override(argument, multirun=multirun))
    return [*flags, *overrides]


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """Return the folders that ``--config-dir`` names."""
    return [Path(value).resolve() for value in _value_of(_CONFIG_DIR, arguments)]


def _value_of(flags: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Return what follows each of the flags: ``--flag VALUE`` or ``--flag=VALUE``."""
    values = []
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        flag, equals, value = argument.partition("=")
        if flag in flags:
            values.append(value if equals else following)
    return values


def _no_rerun(file: Path) -> ConfigError:
    """Return why a run is not repeated from a pickle, with the command that repeats it."""
    overrides = file.parent / "overrides.yaml"
    again = "with the command that its report and MLflow show"
    if overrides.is_file():
        again = f"with {shlex.join(str(text) for text in OmegaConf.load(overrides)) or 'no overrides'}"
    return ConfigError(
        f"{_RERUN} reads a pickle of the configuration, and embexp writes none, since loading one can run "
        f"any code: repeat the run {again}."
    )


def hydra_override(override: str, *, multirun: bool = False) -> str:
    """Return an override that Hydra reads as it is meant.

    Texts that Hydra would read as something else, such as the path ``2024_01_05``, or not at all, such as
    ``it's`` and ``kb (copy)``, are quoted, and a folder may begin with ``~``.

    Args:
        override: An argument of the command line.
        multirun: Whether commas separate the values of several runs.

    Raises:
        ConfigError: It holds bytes that are no text, several values without ``-m``, or several options of a
            group that takes one.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in override):
        shown = override.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        raise ConfigError(
            f"{shown} holds bytes that are not UTF-8: rename the file, or go to its folder first."
        )
    key, equals, value = override.partition("=")
    if not equals or key.startswith(("-", "~")):
        return override
    return f"{key}={_readable(key, value, multirun=multirun)}"


def asks_for_multirun(arguments: Sequence[str]) -> bool:
    """Return whether a command line starts several runs."""
    return any(argument in _MULTIRUN or argument == "hydra.mode=MULTIRUN" for argument in arguments)


def _readable(key: str, value: str, *, multirun: bool) -> str:
    """Return a value as it is if Hydra reads it as it is meant, else in quotes."""
    is_text = _is_text(key)
    if (key.rpartition(".")[2] in _AT_HOME or key == "llm.path") and value.startswith("~"):
        value = str(Path(value).expanduser())
    if _is_group(key):
        value = re.sub(rf"{_ALONE[0]}(null|\d+){_ALONE[1]}", r"'\1'", value)  # names of options are texts
    if re.search(rf"{_ALONE[0]}'?null'?{_ALONE[1]}", value):
        value = _CHOICE.sub(r"\1", value)
    override = _parsed(key, value)
    if override is None and _parsed(key, "") is None:
        return value  # the key is at fault
    if override is None:
        opens = value.lstrip()[:1]
        if opens in ("", '"', "'", "[", "{") and not (is_text and opens in "[{"):
            return value
        if _SWEEP.fullmatch(value) and not is_text:
            return value  # as wrong as it is, so that the mistake in it is told
        return _quoted_parts(key, value) if multirun and "," in value else in_quotes(value)
    if override.is_sweep_override():
        if multirun:
            return value
        if not is_text or _SWEEP.fullmatch(value):
            raise _several_values(key, value)
        return in_quotes(value)
    read = override.value()
    _refuse_merged_options(key, read)
    return value if not is_text or read is None or isinstance(read, str) else in_quotes(value)


def _is_group(key: str) -> bool:
    """Return whether a key chooses among option files, whose names are texts: ``llm=null``, ``loss=5``."""
    group = key.lstrip("+").partition("@")[0]
    return "." not in group and (conf_dir() / group).is_dir()


def _is_text(key: str) -> bool:
    plain = key.lstrip("+")
    name = plain.rpartition(".")[2]
    return "." in plain and (name in _TEXTS or name.endswith("_column"))


def _parsed(key: str, value: str) -> Override | None:
    """Return the override as Hydra reads it; None if it cannot."""
    try:
        return _parser().parse_override(f"{key}={value}")
    except HydraException:
        return None


def _quoted_parts(key: str, value: str) -> str:
    """Return the values of several runs, those in quotes that Hydra cannot read."""
    parts = value.split(",")
    return ",".join(part if _parsed(key, part) else in_quotes(part) for part in parts)


def _several_values(key: str, value: str) -> ConfigError:
    plain = key.lstrip("+")
    text = f"{plain}={value} holds several values, which need several runs: add -m to run each of them"
    if "." in plain and not _SWEEP.fullmatch(value):
        text += f", or write '{plain}=[{value}]' if you mean one list"
    return ConfigError(f"{text}.")


def _refuse_merged_options(key: str, read: object) -> None:
    """Refuse ``loss=[mnrl,gist]``, of which Hydra makes one component with keys of both options."""
    group = key.lstrip("+").partition("@")[0]
    if group in COMPONENTS and isinstance(read, list) and len(read) > 1:
        names = ",".join(str(each) for each in read)
        raise ConfigError(
            f"{key}=[{names}] chooses {len(read)} options, and a run has one {group}: name one of them, or "
            f"run each with -m {key}={names}."
        )


def in_quotes(value: str) -> str:
    """Return a text in quotes of Hydra's."""
    quote = '"' if "'" in value and '"' not in value else "'"
    escaped = value.replace("\\" + quote, "\\\\" + quote).replace(quote, "\\" + quote)
    return f"{quote}{escaped}{quote}"


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()
