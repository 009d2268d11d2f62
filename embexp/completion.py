"""``embexp completion SHELL``: the code that lets a shell complete commands, options and keys of embexp.

The shell calls ``embexp`` itself for the candidates, through argcomplete's protocol
(https://kislyuk.github.io/argcomplete/).
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any

import argcomplete
from argcomplete.shell_integration import shellcode

_SHELLS = ("bash", "zsh", "fish", "powershell")
_WITH_PARSER = ("search", "export", "publish", "migrate", "compare", "runs", "cache", "completion")
"""Commands with a parser of their own; the others take overrides."""
_WORDS = "_ARGCOMPLETE"
"""argcomplete's variable for the number of words before the arguments of the command that is completed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the code for a shell."""
    options = parser().parse_args(arguments)
    print(shellcode(["embexp"], shell=options.shell))


def parser() -> argparse.ArgumentParser:
    """Return the parser of this command's arguments."""
    made = argparse.ArgumentParser(
        prog="embexp completion",
        description="Print the code that lets a shell complete embexp's commands, options and keys.",
        epilog='For bash, add eval "$(embexp completion bash)" to ~/.bashrc; zsh: likewise, in ~/.zshrc; '
        "fish: embexp completion fish > ~/.config/fish/completions/embexp.fish",
    )
    made.add_argument("shell", choices=_SHELLS, help="the shell")
    return made


def complete() -> None:
    """Answer a shell that asks for candidates, and end the process."""
    words = _typed()
    command = words[1] if len(words) > 1 else ""
    known = _first_word()
    if command in _WITH_PARSER:
        known = importlib.import_module(f"embexp.{command}").parser()
    elif command in _commands():
        known = _overrides(command)
    if command in _commands():
        os.environ[_WORDS] = str(int(os.environ[_WORDS]) + 1)
    argcomplete.autocomplete(
        known,
        append_space=command not in _commands() or command in _WITH_PARSER,  # none after "loss="
        always_complete_options=False,
        exit_method=sys.exit,  # type: ignore[arg-type]
    )


def _typed() -> list[str]:
    """Return the words before the one that is completed."""
    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    try:
        words = shlex.split(line)
    except ValueError:  # an open quote
        words = line.split()
    return words if line.endswith(" ") else words[:-1]


def _commands() -> list[str]:
    return list(importlib.import_module("embexp.cli").COMMANDS)


def _first_word() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    made.add_argument("--version", action="store_true")
    made.add_argument("command", choices=[*_commands(), "help"])
    return made


def _overrides(command: str) -> argparse.ArgumentParser:
    """Return a parser of Hydra's flags whose other words are overrides."""
    made = argparse.ArgumentParser(prog=f"embexp {command}")
    made.add_argument("-m", "--multirun", action="store_true")
    for flag in ("--resolve", "--version"):
        made.add_argument(flag, action="store_true")
    made.add_argument("--cfg", choices=["job", "hydra", "all"])
    made.add_argument("--info", choices=["config", "defaults", "defaults-tree", "plugins", "searchpath"])
    made.add_argument("--config-dir")
    overrides: Any = made.add_argument("overrides", nargs="*")
    overrides.completer = _candidates
    return made


def _candidates(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from embexp.config.candidates import candidates

    typed = parsed_args.overrides or []
    return candidates(prefix, typed, config_dir=parsed_args.config_dir, multirun=parsed_args.multirun)
