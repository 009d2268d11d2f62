"""A command started by torchrun: rank 0 runs it as a single process would, the workers help with training."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from embexp.errors import ConfigError

if TYPE_CHECKING:
    from embexp.finetuning.distributed.process_group import ProcessGroup

Returned = float | list[float] | None
"""What a job returns to a sweep: a value for each objective; None where there is no sweep."""
Task = Callable[[DictConfig], Returned]


@contextmanager
def worker_folder(group: ProcessGroup | None) -> Iterator[None]:
    """Let Hydra write a worker's files into a temporary folder; rank 0 writes into the run's own.

    Raises:
        ConfigError: A multirun was started in several processes.
    """
    if group is not None and {"-m", "--multirun"} & set(sys.argv[1:]):
        raise ConfigError(
            f"{group.size} processes train one run together, and -m asks for several runs: use either "
            "(launchers, such as hydra/launcher=joblib, spread runs over processes)."
        )
    if group is None or group.rank == 0:
        yield
        return
    folder = tempfile.mkdtemp(prefix="embexp-")
    sys.argv += [f"hydra.run.dir={folder}", "hydra.output_subdir=null"]
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_task(task: Task, config: DictConfig, group: ProcessGroup | None) -> Returned:
    """Run a command's task on rank 0; a worker computes its share of the training instead."""
    if group is None:
        return task(config)
    if group.rank != 0:
        logging.getLogger().setLevel(logging.WARNING)
        _work(config, group)
        return None
    group.join()
    result = task(config)
    group.release_workers()
    return result


def rank_0_reports(error: BaseException, group: ProcessGroup) -> bool:
    """Return whether a worker's error is one that rank 0 meets and reports as well.

    Those are errors of the configuration, and the end of rank 0 itself.
    """
    # A worker has loaded the process group already; importing it here costs a single process nothing.
    from embexp.finetuning.distributed.process_group import ProcessLostError

    return group.rank != 0 and (not group.joined or isinstance(error, ProcessLostError))


def _work(config: DictConfig, group: ProcessGroup) -> None:
    from embexp.config.build import build
    from embexp.pipeline.finetune import run_worker

    experiment, _ = build(config, needs_key=False, asks=())
    group.join()
    run_worker(experiment)
