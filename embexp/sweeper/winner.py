"""Which trial won, the command that repeats it, and what the losers leave behind."""

from __future__ import annotations

import logging
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from embexp.storage.stages import discard
from embexp.sweeper.options import MAXIMIZE
from embexp.sweeper.space import Space
from embexp.tracking.masking import masked_text

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger("embexp.sweeper")


def best_trials(study: Study) -> list[FrozenTrial]:
    """Return the winner first, then the rest of the Pareto front where there are several objectives.

    The winner is the trial that is best in the first objective; the earlier one of two equals.
    """
    from optuna.trial import TrialState

    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    if len(study.directions) == 1:
        return [study.best_trial]
    sign = -1 if study.directions[0].name.lower() == MAXIMIZE else 1
    return sorted(study.best_trials, key=lambda trial: (sign * (trial.values or [0])[0], trial.number))


def command_of(config: DictConfig, space: Space, values: Mapping[str, Any]) -> str:
    """Return the command that runs a trial's settings whole, outside of the sweep, quoted for a shell.

    Secrets on the command line are masked: the command is written into reports.
    """
    sources = config.hydra.runtime.config_sources
    folders = [source.path for source in sources if source.provider == "command-line"]
    given = [part for folder in folders for part in ("--config-dir", str(folder))]
    overrides = [masked_text(text.lstrip("+")) for text in (*space.fixed, *space.overrides(values))]
    return shlex.join(["python", "-m", f"embexp.{config.hydra.job.name}", *given, *overrides])


def discard_losers(trials: Sequence[FrozenTrial], keep: Sequence[FrozenTrial], *, last: bool) -> None:
    """Delete the models of trials that lost, and the unfinished trainings of pruned ones.

    What the cache held before the sweep stays, and so does what a kept trial was taken from or what a
    process works on.

    Args:
        trials: All trials.
        keep: The winner, and the front of several objectives.
        last: Whether the study is done, so that failed trials will not be repeated any more.
    """
    from optuna.trial import TrialState

    finished = {TrialState.COMPLETE, TrialState.PRUNED, *([TrialState.FAIL] if last else [])}
    needed = {trial.user_attrs.get("stage") for trial in keep}
    kept = {trial.number for trial in keep}
    for trial in trials:
        facts = trial.user_attrs
        if trial.state not in finished or trial.number in kept or "folder" not in facts:
            continue
        shutil.rmtree(Path(facts["folder"]) / "model", ignore_errors=True)
        stage = facts.get("stage")
        if stage and facts.get("own") and stage not in needed and Path(stage).exists():
            discard(Path(stage))
