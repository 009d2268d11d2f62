"""What every command shares: start Hydra, run the task, and end with one sentence and an exit code.

``--help`` and a mistake in the configuration have to answer within a second. This file therefore imports the
layers above the foundation inside functions, when a job starts.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from embexp.config.explain import USER_MISTAKES, explain, unset_component
from embexp.config.help import asks_for_help, help_text
from embexp.config.multirun import (
    JobInternalError,
    StopMultirunError,
    limit_threads,
    picklable,
    record_failure,
    refuse_unswept_space,
    summarise_failures,
)
from embexp.config.overrides import config_dirs, hydra_arguments
from embexp.config.processes import Returned, Task, rank_0_reports, run_task, worker_folder
from embexp.config.saved import masked_display
from embexp.config.schema import register
from embexp.errors import EmbexpError, PrunedError
from embexp.masking import mask_logging, masked_terminal, masked_text, masked_traceback, remember_secrets
from embexp.memory import memory_problem, warn_of_address_space
from embexp.package import __version__, conf_dir
from embexp.storage.files import disk_problem

if TYPE_CHECKING:
    from embexp.finetuning.distributed.process_group import ProcessGroup

log = logging.getLogger("embexp")
USER_ERROR, INTERNAL_ERROR = 2, 1
"""Exit codes."""
SECONDS_FOR_RANK_0 = 30
"""How long a worker waits for rank 0 to report an error that both have found."""
_LIBRARY_SETTINGS = {
    "TOKENIZERS_PARALLELISM": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ANONYMIZED_TELEMETRY": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def hydra_command(name: str) -> Callable[[Task], Callable[[], None]]:
    """Return a decorator that makes a task the ``main`` of ``python -m embexp.NAME``.

    ``main`` composes the configuration and calls the task with it. A mistake of the user ends with one
    sentence and exit code 2, an internal error with exit code 1; the traceback goes to run.log, and to the
    terminal where HYDRA_FULL_ERROR=1 asks for it.
    """

    def decorate(task: Task) -> Callable[[], None]:
        return lambda: _main(task, name)

    return decorate


def _main(task: Task, name: str) -> None:
    verbose = os.environ.get("HYDRA_FULL_ERROR", "") not in ("", "0")
    if "--version" in sys.argv[1:]:  # which would be Hydra's
        print(f"embexp {__version__}")
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises errors instead of printing them
    remember_secrets(sys.argv[1:])
    mask_logging()
    try:
        sys.argv[1:] = hydra_arguments(sys.argv[1:])
    except EmbexpError as error:
        sys.exit(_report(error, verbose, in_job=False))
    folders = [conf_dir(), *config_dirs(sys.argv[1:])]
    group = None
    register()
    try:
        if asks_for_help(sys.argv[1:]):
            with masked_terminal():
                print(help_text(name, sys.argv[1:]))
            return
        prepare_libraries()
        group = _process_group()
        with masked_terminal(), worker_folder(group), masked_display(sys.argv[1:]):
            start = hydra.main(config_path=str(folders[0]), config_name="config", version_base="1.3")
            start(_job(task, name, group, verbose=verbose))()
    except BrokenPipeError:  # the reader of a pipe, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (Exception, KeyboardInterrupt, StopMultirunError) as error:  # noqa: BLE001 a command's last resort
        sys.exit(_report(_for_the_user(error, folders), verbose, group, in_job=False))


def _job(task: Task, name: str, group: ProcessGroup | None, *, verbose: bool) -> Task:
    """Return the function that Hydra calls with each composed configuration, in whatever process."""

    def job(config: DictConfig) -> Returned:
        from embexp.finetuning.cpu import prepare_torch

        try:
            limit_threads()
            prepare_libraries()  # once more where a launcher has started another process
            prepare_torch()
            warn_of_address_space()
            refuse_unswept_space()
            return run_task(task, config, group)
        except (Exception, KeyboardInterrupt) as raised:
            error = _users_or_same(raised)
            if HydraConfig.get().mode != RunMode.MULTIRUN:
                sys.exit(_report(error, verbose, group))
            if isinstance(error, KeyboardInterrupt):
                raise
            raise _end_job(error, verbose) from None

    job.__module__ = f"embexp.{name}"  # Hydra's name for the job, in its help and its settings
    return job


def prepare_libraries() -> None:
    """Set what libraries read when they are imported, and keep logging from reporting its own errors."""
    for name, value in _LIBRARY_SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.raiseExceptions = False  # a disk that is full is one sentence, not a traceback for each log line


def _process_group() -> ProcessGroup | None:
    """Return the processes that torchrun or accelerate started together; None for a single process."""
    if not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & os.environ.keys():
        return None
    from embexp.finetuning.distributed.process_group import init_process_group

    return init_process_group()


def _for_the_user(error: BaseException, folders: Sequence[Path]) -> BaseException:
    """Return the error to report for one that ended Hydra itself, outside of a job."""
    overrides = [argument for argument in sys.argv[1:] if "=" in argument and argument[0] != "-"]
    if problem := disk_problem(error) or memory_problem(error):  # of the folder that Hydra makes, too
        return problem
    if isinstance(error, USER_MISTAKES):
        return explain(error, overrides, folders)
    if isinstance(error, Exception) and (mistake := unset_component(error, overrides)):
        return mistake
    if isinstance(error, StopMultirunError):
        return error.error
    return summarise_failures(error) if isinstance(error, Exception) else error


def _users_or_same(error: Exception | KeyboardInterrupt) -> Exception | KeyboardInterrupt:
    """Return the error to report for one of a disk or of the user's own code or settings, else it itself."""
    from embexp.user_code import users_mistake

    if isinstance(error, OmegaConfBaseException):  # a value refers to another one that is not there
        return explain(error, [], [conf_dir()])
    mistake = disk_problem(error) or memory_problem(error) or users_mistake(error)
    return error if mistake is None else mistake.with_traceback(error.__traceback__)


def _end_job(error: Exception, verbose: bool) -> Exception:
    """Log why a job of a multirun failed, and return the error that its launcher passes to the parent."""
    carried = picklable(error)
    if not isinstance(carried, PrunedError):
        record_failure(carried)
        _report(error, verbose)
    return carried


def _report(
    error: BaseException, verbose: bool, group: ProcessGroup | None = None, *, in_job: bool = True
) -> int:
    """Report an error in the terminal and in run.log, and return the exit code.

    Outside of a job there is no run.log, and in a multirun the log handlers are Hydra's own: the error then
    goes to stderr alone. Of several processes, rank 0 reports what it finds, too: a worker waits for it,
    since torchrun ends all processes with the first.
    """
    if verbose:
        print(masked_traceback(error), file=sys.stderr)
    elif in_job:
        log.debug("traceback", exc_info=error)
    if isinstance(error, KeyboardInterrupt):
        text = "Interrupted. Finished stages are kept; run the same command again to continue."
        code = USER_ERROR
    elif isinstance(error, EmbexpError) or str(error).startswith("Only one of --"):  # Hydra, of its flags
        text, code = masked_text(str(error)), USER_ERROR
    else:
        kind = "" if isinstance(error, JobInternalError) else f"{type(error).__name__}: "
        text = (
            f"An internal error in embexp, not a mistake in your input: {kind}{masked_text(str(error))}. "
            "Set HYDRA_FULL_ERROR=1 to see the traceback."
        )
        code = INTERNAL_ERROR
    if group is not None and rank_0_reports(error, group):
        if not group.joined and not isinstance(error, KeyboardInterrupt):
            time.sleep(SECONDS_FOR_RANK_0)
        return code
    if in_job and log.hasHandlers():
        log.error("error: %s", text)
    else:
        print(f"error: {text}", file=sys.stderr)
    return code
