"""What every command shares: start Hydra, run the task, and end with one sentence and an exit code."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from embexp.config.explain import USER_MISTAKES, explain
from embexp.config.multirun import (
    JobFaultError,
    StopMultirunError,
    note_failure,
    portable,
    told,
    use_own_cpus,
)
from embexp.config.processes import Returned, Task, leader_says, own_folder, run_task
from embexp.config.schema import COMPONENTS, conf_dir, register
from embexp.errors import EmbexpError, PrunedError
from embexp.finetuning.cpu import choose_threads

if TYPE_CHECKING:
    from embexp.finetuning.distributed.process_group import Team

log = logging.getLogger("embexp")
USER_ERROR, OUR_ERROR = 2, 1
OPTUNA = ("hydra.sweeper.sampler.", "hydra.sweeper.pruner.")
"""Keys whose classes are Optuna's, so that no file of ours lists their arguments."""


def hydra_command(name: str) -> Callable[[Task], Callable[[], None]]:
    """Return a decorator that makes a task the ``main`` of ``python -m embexp.NAME``."""
    return lambda task: _main(task, name)


def _main(task: Task, name: str) -> Callable[[], None]:
    """Return a function that composes a configuration and hands it to ``task``.

    A mistake of the user ends with one sentence and exit code 2, one of ours with exit code 1; the
    traceback goes to run.log, and to the terminal where HYDRA_FULL_ERROR=1 asks for it.
    """

    def main() -> None:
        verbose = os.environ.get("HYDRA_FULL_ERROR", "") not in ("", "0")
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then hands errors over instead of printing them
        register()
        try:
            team = _before_heavy_imports()
        except EmbexpError as error:
            sys.exit(_report(error, verbose))

        def job(config: DictConfig) -> Returned:
            use_own_cpus()
            _before_heavy_imports()  # once more where a launcher has started another process
            choose_threads()
            try:
                return run_task(task, config, team)
            except (Exception, KeyboardInterrupt) as error:
                if HydraConfig.get().mode != RunMode.MULTIRUN:
                    sys.exit(_report(error, verbose, team))
                if isinstance(error, KeyboardInterrupt):
                    raise
                raise _end_job(error, verbose) from None

        job.__module__ = f"embexp.{name}"  # what Hydra calls the job, in its help and its settings
        sys.argv[1:] = [_settable(argument) for argument in sys.argv[1:]]
        folders = [conf_dir(), *_user_folders(sys.argv[1:])]
        try:
            with own_folder(team):
                hydra.main(config_path=str(folders[0]), config_name="config", version_base="1.3")(job)()
        except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except USER_MISTAKES as error:
            overrides = [argument for argument in sys.argv[1:] if "=" in argument and argument[0] != "-"]
            sys.exit(_report(explain(error, overrides, folders), verbose, team, outside=True))
        except StopMultirunError as stop:
            sys.exit(_report(stop.error, verbose, team, outside=True))
        except Exception as error:  # noqa: BLE001 the last resort of a command
            sys.exit(_report(told(error), verbose, team, outside=True))
        except KeyboardInterrupt as error:
            sys.exit(_report(error, verbose, team, outside=True))

    return main


def _before_heavy_imports() -> Team | None:
    """Set what libraries read when they are imported: their environment, and the allocator under torch.

    Returns:
        The processes that were started together, None for one alone.
    """
    from embexp.finetuning.cpu import tune_allocator
    from embexp.finetuning.distributed.process_group import take_over

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    tune_allocator()
    return take_over()


def _settable(argument: str) -> str:
    """Let a command line set every argument of a component, also one that its option file leaves out.

    Hydra wants ``++`` before a key that no file names; whether the component knows it is checked later.
    """
    key, equals, _ = argument.partition("=")
    below = ("." in key and key.partition(".")[0] in COMPONENTS) or key.startswith(OPTUNA)
    return f"++{argument}" if equals and below else argument


def _user_folders(arguments: list[str]) -> list[Path]:
    folders = []
    for position, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if option in ("--config-dir", "-cd"):
            value = value or (arguments[position + 1] if position + 1 < len(arguments) else "")
            folders.append(Path(value).resolve())
    return folders


def _end_job(error: Exception, verbose: bool) -> Exception:
    """Say in the job's own log why it failed, and return what its launcher takes to the parent."""
    carried = portable(error)
    if not isinstance(carried, PrunedError):
        note_failure(carried)
        _report(error, verbose)
    return carried


def _report(error: BaseException, verbose: bool, team: Team | None = None, *, outside: bool = False) -> int:
    """Say what went wrong, in the terminal and in run.log, and return the exit code.

    ``outside`` of a job there is no run.log, and in a multirun Hydra's own logging, which is not for this.
    Of several processes, one that helps leaves to the leader what the leader has found, too.
    """
    if verbose:
        traceback.print_exception(error)
    elif not outside:
        log.debug("traceback", exc_info=error)
    if isinstance(error, KeyboardInterrupt):
        text = "Interrupted: what was finished is kept; the same command goes on from there."
        code = USER_ERROR
    elif isinstance(error, EmbexpError) or str(error).startswith("Only one of --"):  # Hydra, of its flags
        text, code = str(error), USER_ERROR
    else:
        known = "" if isinstance(error, JobFaultError) else f"{type(error).__name__}: "
        text = (
            f"A fault in embexp, not in your input: {known}{error}. "
            "HYDRA_FULL_ERROR=1 before the command shows where."
        )
        code = OUR_ERROR
    if team is not None and leader_says(error, team):
        return code
    if outside or not log.hasHandlers():
        print(f"error: {text}", file=sys.stderr)
    else:
        log.error("error: %s", text)
    return code
