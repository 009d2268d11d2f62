"""A command in several processes: the first does it as if it were alone, the others help with training."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from omegaconf import DictConfig

from embexp.errors import ConfigError
from embexp.finetuning.distributed.process_group import Team, TeamError

Returned = float | list[float] | None
"""What a sweep reads of a job: one value for each objective, None where there is none."""
Task = Callable[[DictConfig], Returned]


@contextmanager
def own_folder(team: Team | None) -> Iterator[None]:
    """Keep what Hydra writes for a process that helps in a folder that is gone afterwards.

    Raises:
        ConfigError: Several runs at once are wanted of several processes.
    """
    if team is not None and {"-m", "--multirun"} & set(sys.argv[1:]):
        raise ConfigError(
            f"{team.size} processes train one run together, and -m asks for several: leave one of them out "
            "(the launchers, hydra/launcher=joblib and others, spread runs over processes)."
        )
    if team is None or team.leads:
        yield
        return
    folder = tempfile.mkdtemp(prefix="embexp-")
    sys.argv += [f"hydra.run.dir={folder}", "hydra.output_subdir=null"]
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_task(task: Task, config: DictConfig, team: Team | None) -> Returned:
    """Run a command's task, or help the process that does."""
    if team is None:
        return task(config)
    if not team.leads:
        logging.getLogger().setLevel(logging.WARNING)
        _help(config, team)
        return None
    team.join()
    result = task(config)
    team.dismiss()
    return result


def leader_says(error: BaseException, team: Team) -> bool:
    """Say whether the leader reports this error itself: those of the configuration, and its own end."""
    return not team.leads and (not team.joined or isinstance(error, TeamError))


def _help(config: DictConfig, team: Team) -> None:
    from embexp.config.build import build
    from embexp.pipeline.finetune import follow

    experiment, _ = build(config, needs_key=False)
    team.join()
    follow(experiment)
