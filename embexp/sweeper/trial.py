"""A trial from within its job: which one it is, its reports to the study while it trains, and its values."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf

from embexp.config.build import output_dir
from embexp.errors import ConfigError, PrunedError
from embexp.storage.stages import DONE, discard
from embexp.sweeper.stores import storage_errors, store_at
from embexp.sweeper.study import REPEATS, VALUES, quiet

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from embexp.finetuning.training import TrainingStep
    from embexp.pipeline.data import Data
    from embexp.pipeline.experiment import Experiment
    from embexp.pipeline.finetune import Tuned
    from embexp.tracking.tracker import Tracker

TIMED_PASSAGES = 256


@dataclass(frozen=True, kw_only=True)
class TrialSlot:
    """A job's part in a sweep: the study, the trial (None for the winner's run) and the parent run.

    The sweeper passes it to the job as ``hydra.sweeper.trial_slot``, since every launcher passes overrides on
    to its processes.
    """

    study: str
    folder: str
    parent_run_id: str
    trial_id: int | None = None
    number: int | None = None
    swept: Mapping[str, Any] | None = None

    def as_text(self) -> str:
        """Return the value of ``hydra.sweeper.trial_slot``."""
        return json.dumps(asdict(self))


def _slot() -> TrialSlot | None:
    """Return this job's part in a sweep; None outside a sweep."""
    config = HydraConfig.instance().cfg
    text = OmegaConf.select(config, "hydra.sweeper.trial_slot") if config is not None else None  # type: ignore[arg-type]
    return TrialSlot(**json.loads(text)) if text else None


def sweep_tags() -> dict[str, str]:
    """Return the tags of a run in a sweep: the study, the trial's number or ``winner``, the parent run."""
    slot = _slot()
    if slot is None:
        return {}
    own = {"winner": "true"} if slot.number is None else {"trial": str(slot.number)}
    parent = {"parent_run_id": slot.parent_run_id} if slot.parent_run_id else {}
    return {"study": slot.study, **own, **parent}


def live_trial() -> LiveTrial | None:
    """Return the trial that this job runs; None outside a sweep, and in the winner's run."""
    slot = _slot()
    return LiveTrial(slot) if slot and slot.trial_id is not None else None


class LiveTrial:
    """The running trial: reports dev scores to the study, and stops the training if the pruner decides so."""

    def __init__(self, slot: TrialSlot) -> None:
        self._slot = slot
        self._reports = 0
        self._last_step = -1

    @property
    def params(self) -> Mapping[str, Any]:
        """The values that were drawn for this trial."""
        return self._slot.swept or {}

    @property
    def objectives(self) -> list[str]:
        """The names of the values that the trial returns."""
        return [str(name) for name in HydraConfig.get().sweeper.objectives]

    @property
    def name(self) -> str:
        """The run's name in the tracker."""
        return f"trial {self._slot.number}"

    def begin(self, *, run_id: str) -> None:
        """Record the id of the trial's run in the tracker."""
        self.note(run_id=run_id)

    def trains_in(self, folder: Path) -> None:
        """Record the cache folder of the training, and whether the sweep may delete it.

        It may, unless the training was finished before the sweep started it. A trial that repeats another
        can find it finished by that one.
        """
        finished = (folder / DONE).exists()
        self.note(stage=str(folder.resolve()), own=not finished or REPEATS in self._trial.user_attrs)

    def note(self, **attributes: Any) -> None:
        """Store user attributes with the trial."""
        with storage_errors("of the study"):
            for name, value in attributes.items():
                self._trial.set_user_attr(name, value)

    def watch(self, step: TrainingStep, *, metric: str, evaluations: int) -> None:
        """Report a dev score, and stop the training if other trials were better at this point.

        Trainings differ in length, so a score is reported under its number (0 is the untuned model) and not
        under its step. After its last dev score a training is not stopped any more. Trials with several
        objectives are not pruned, since Optuna has no pruner for them.

        Raises:
            PrunedError: The pruner stops the trial.
        """
        value = step.metrics.get(f"dev_{metric}")
        if value is None or step.step <= self._last_step or len(self._trial.study.directions) > 1:
            return
        self._last_step, index = step.step, self._reports
        self._reports += 1
        self._trial.report(float(value), index)
        if 0 < index < evaluations - 1 and self._trial.should_prune():
            raise PrunedError(f"pruned at step {step.step} with dev {metric} {value:.4f}")

    @cached_property
    def _trial(self) -> optuna.trial.Trial:
        import optuna

        options = HydraConfig.get().sweeper
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with quiet():
            study = optuna.load_study(
                study_name=self._slot.study,
                storage=store_at(options.storage, Path(self._slot.folder)).open(),
                sampler=optuna.samplers.RandomSampler(),
                pruner=instantiate(OmegaConf.to_container(options.pruner, resolve=True)),
            )
        trial_id = self._slot.trial_id
        return optuna.trial.Trial(study, int(trial_id if trial_id is not None else -1))


def trial_values(trial: LiveTrial, experiment: Experiment, tracker: Tracker) -> list[float]:
    """Run a trial and return a value per objective; the test split stays unopened.

    The quality is the dev score of the weights that the trainer selects.

    Raises:
        PrunedError: The pruner stopped the trial.
        ConfigError: There are no dev scores.
    """
    from embexp.pipeline.run import run_trial

    folder = output_dir()
    trial.note(folder=str(folder))

    def measure(data: Data, tuned: Tuned) -> Mapping[str, float]:
        return _measures(experiment, data, tuned, trial.objectives)

    measures = run_trial(experiment, tracker, folder, trial, tags=sweep_tags(), measure=measure)
    values = [measures[name] for name in trial.objectives]
    trial.note(**{VALUES: values})
    return values


def _measures(experiment: Experiment, data: Data, tuned: Tuned, objectives: list[str]) -> Mapping[str, float]:
    quality = tuned.training.selected_score(experiment.metric)
    if quality is None:
        raise ConfigError(
            "A sweep needs dev scores and this trial has none: leave split.dev above 0 and "
            "trainer.evaluations at 1 or more."
        )
    measures = {"quality": quality, "training_seconds": tuned.training.seconds}
    if "embedding_ms" in objectives:
        measures["embedding_ms"] = _embedding_ms(data, tuned)
    return measures


def _embedding_ms(data: Data, tuned: Tuned) -> float:
    """Return the milliseconds that the tuned model takes per passage, the better of two rounds."""
    from embexp.models.encoder import ModelEmbedder

    passages = [chunk.passage for chunk in data.chunks[:TIMED_PASSAGES]]
    embedder = ModelEmbedder(tuned.source.load(), fingerprint="timed")
    rounds = []
    for _ in range(2):
        start = time.perf_counter()
        embedder.encode_passages(passages)
        rounds.append(time.perf_counter() - start)
    return 1000 * min(rounds) / len(passages)


def discard_losers(trials: Sequence[FrozenTrial], keep: Sequence[FrozenTrial], *, last: bool) -> None:
    """Delete the models and cached trainings of losing trials.

    Trainings that were in the cache before the sweep stay, and so do those that a kept trial uses or that a
    process is working on.

    Args:
        trials: All trials.
        keep: The winner, and with several objectives the rest of the Pareto front.
        last: Whether the study is finished, so that failed trials are not repeated any more.
    """
    from optuna.trial import TrialState

    finished = {TrialState.COMPLETE, TrialState.PRUNED, *([TrialState.FAIL] if last else [])}
    needed = {trial.user_attrs.get("stage") for trial in keep}
    kept = {trial.number for trial in keep}
    for trial in trials:
        attributes = trial.user_attrs
        if trial.state not in finished or trial.number in kept or "folder" not in attributes:
            continue
        shutil.rmtree(Path(attributes["folder"]) / "model", ignore_errors=True)
        stage = attributes.get("stage")
        if stage and attributes.get("own") and stage not in needed and Path(stage).exists():
            discard(Path(stage))
