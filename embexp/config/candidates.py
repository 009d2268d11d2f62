"""What an override that is being typed may become, for the completion of a shell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.completion_plugin import CompletionPlugin

from embexp.config.explain import USER_MISTAKES
from embexp.config.overrides import PATH_KEYS, hydra_override, in_quotes
from embexp.config.schema import register
from embexp.errors import EmbexpError
from embexp.package import conf_dir


class _Completion(CompletionPlugin):
    """Hydra's search for candidates, which its plugins for shells print."""

    def install(self) -> None:
        """Do nothing."""

    def uninstall(self) -> None:
        """Do nothing."""

    @staticmethod
    def provides() -> str:
        """Return the name of the shell, which is none."""
        return ""

    def query(self, config_name: str | None) -> None:
        """Do nothing."""

    @staticmethod
    def help(command: str) -> str:  # noqa: ARG004
        """Return no help."""
        return ""

    def candidates(self, line: str) -> list[str]:
        """Return what the last word of a line of overrides may become."""
        return [str(each) for each in self._query("config", line)]


def candidates(
    word: str, before: Sequence[str], *, config_dir: str | None = None, multirun: bool = False
) -> list[str]:
    """Return what a word may become: groups, their options, keys with their values, files.

    Args:
        word: What has been typed of an override.
        before: The overrides before it.
        config_dir: A folder with options of the user's own.
        multirun: Whether commas separate the values of several runs; the last of them is completed.
    """
    if files := _files(word):
        return files
    register()
    key, comma, last = word.rpartition(",") if multirun else ("", "", word)
    name = key.partition("=")[0]
    folder = [f"hydra.searchpath=[{in_quotes(f'file://{Path(config_dir).resolve()}')}]"] if config_dir else []
    try:
        typed = [hydra_override(each, multirun=True) for each in before if "=" in each and "," not in each]
        words = [each for each in (*folder, *typed) if " " not in each]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            plugin = _Completion(GlobalHydra.instance().config_loader())
            found = plugin.candidates(" ".join([*words, f"{name}={last}" if comma else last]))
    except (*USER_MISTAKES, EmbexpError):
        return []
    return [f"{key},{each.partition('=')[2]}" for each in found] if comma else found


def _files(word: str) -> list[str]:
    """Return the files and folders that the value of a path's key may become."""
    key, equals, value = word.partition("=")
    if not equals or key.rpartition(".")[2] not in PATH_KEYS:
        return []
    name = value.rpartition("/")[2]
    typed = value[: len(value) - len(name)]
    here = Path(typed or ".").expanduser()
    names = sorted(here.iterdir()) if here.is_dir() else []
    fitting = [each for each in names if each.name.startswith(name)]
    return [f"{key}={typed}{each.name}{'/' if each.is_dir() else ''}" for each in fitting]
