"""The sweep's trial as a job sees it: which one it is, and what to tell the study while it trains."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf

from embexp.errors import PrunedError
from embexp.storage.stages import DONE

if TYPE_CHECKING:
    import optuna

    from embexp.finetuning.training import TrainingStep

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the sweeper tells a job: its study, its trial (none in the winner's run), and their parent run.

    It travels as ``hydra.sweeper.place``, which any launcher carries into any process.
    """

    study: str
    folder: str
    parent_run_id: str
    trial_id: int | None = None
    number: int | None = None
    swept: Mapping[str, Any] | None = None

    def as_text(self) -> str:
        """Return it as the value of ``hydra.sweeper.place``."""
        return json.dumps({name: getattr(self, name) for name in self.__dataclass_fields__})


def place() -> Place | None:
    """Return this job's place in a sweep; None outside of one."""
    config = HydraConfig.instance().cfg
    text = OmegaConf.select(config, "hydra.sweeper.place") if config is not None else None  # type: ignore[arg-type]
    return Place(**json.loads(text)) if text else None


def sweep_tags() -> dict[str, str]:
    """Return the tags of a run within a sweep: its parent, and its number or that it is the winner's."""
    found = place()
    if found is None:
        return {}
    own = {"winner": "true"} if found.number is None else {"trial": str(found.number)}
    parent = {"parent_run_id": found.parent_run_id} if found.parent_run_id else {}
    return {"study": found.study, **own, **parent}


def live_trial() -> LiveTrial | None:
    """Return the trial that this job is; None outside of a sweep, and in the winner's run."""
    found = place()
    return LiveTrial(found) if found and found.trial_id is not None else None


class LiveTrial:
    """Tells the study what a training comes to, and ends it where the study's pruner says so."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._seen = 0
        self._last_step = -1

    @property
    def params(self) -> Mapping[str, Any]:
        """The values that were drawn for this trial."""
        return self.place.swept or {}

    @property
    def objectives(self) -> list[str]:
        """The names of what is asked of the trial."""
        return [str(name) for name in HydraConfig.get().sweeper.objectives]

    @property
    def name(self) -> str:
        """What the tracker's table shows."""
        return f"trial {self.place.number}"

    def begin(self, *, run_id: str) -> None:
        """Keep the id of the trial's run in the tracker."""
        self.note(run_id=run_id)

    def trains_in(self, folder: Path) -> None:
        """Keep where the cache holds the training, and whether it is this trial's to delete.

        It is, unless it was finished before the sweep came to it. A trial that repeats another may find
        it finished by that one.
        """
        finished = (folder / DONE).exists()
        self.note(stage=str(folder.resolve()), own=not finished or self._repeats)

    def note(self, **facts: Any) -> None:
        """Keep facts with the trial."""
        from embexp.sweeper.stores import storage_errors

        with storage_errors("of the study"):
            for name, value in facts.items():
                self._trial.set_user_attr(name, value)

    def watch(self, step: TrainingStep, *, metric: str, evaluations: int) -> None:
        """Report a dev score, and stop the training if others were better at this point.

        Trainings differ in length, so scores are counted (0 is the untuned model), not told by step. A
        training that has come to its last scoring is not stopped any more. Several objectives cannot be
        pruned: Optuna has no pruner for them.

        Raises:
            PrunedError: The pruner has decided so.
        """
        value = step.metrics.get(f"dev_{metric}")
        if value is None or step.step <= self._last_step or len(self._directions) > 1:
            return
        self._last_step, index = step.step, self._seen
        self._seen += 1
        self._trial.report(float(value), index)
        if 0 < index < evaluations - 1 and self._trial.should_prune():
            raise PrunedError(f"pruned at step {step.step} with dev {metric} {value:.4f}")

    @property
    def _repeats(self) -> bool:
        return "repeats" in self._trial.user_attrs

    @property
    def _directions(self) -> list[Any]:
        return self._trial.study.directions

    @cached_property
    def _trial(self) -> optuna.trial.Trial:
        import optuna

        from embexp.sweeper.stores import store_at
        from embexp.sweeper.study import quiet

        options = HydraConfig.get().sweeper
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with quiet():
            study = optuna.load_study(
                study_name=self.place.study,
                storage=store_at(options.storage, Path(self.place.folder)).open(),
                sampler=optuna.samplers.RandomSampler(),
                pruner=instantiate(OmegaConf.to_container(options.pruner, resolve=True)),
            )
        trial_id = self.place.trial_id
        return optuna.trial.Trial(study, int(trial_id if trial_id is not None else -1))
