"""A sweep from the first trial to the winner's report."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobStatus
from hydra.errors import InstantiationException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from embexp.errors import ConfigError, EmbexpError, PrunedError, SweepError
from embexp.storage.files import atomic_write
from embexp.sweeper.identity import check_space, default_values, shared_settings, study_name, sweep_folder
from embexp.sweeper.options import Options, read_options
from embexp.sweeper.parent import parent_run, study_metrics, tag_best, tracker_of
from embexp.sweeper.report import Found, print_sweep, write_sweep_report
from embexp.sweeper.space import Space, parse_space
from embexp.sweeper.stores import store_at
from embexp.sweeper.study import (
    ERROR,
    REPEATS,
    REPORTED,
    VALUES,
    WINNER,
    Failure,
    Ledger,
    open_study,
    sampler_factory,
    values_from,
)
from embexp.sweeper.trial import Place
from embexp.sweeper.winner import best_trials, command_of, discard_losers
from embexp.tracking.masking import masked, masked_text

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

    from embexp.tracking.tracker import TrackedRun, Tracker

log = logging.getLogger("embexp.sweeper")
WAIT_SECONDS = 1.0
HOPELESS = 3
"""A sweep ends when its first so many places all failed."""


def run_sweep(config: DictConfig, context: HydraContext, launcher: Launcher, arguments: Sequence[str]) -> Any:
    """Run or continue a sweep, then the winner, and leave the report in the sweep's folder.

    Returns:
        The winner's values by key.

    Raises:
        ConfigError: The space or an option cannot work.
        SweepError: The storage cannot be used, or every trial failed.
    """
    options = read_options(config.hydra.sweeper)
    space = parse_space(options.params, arguments, context.config_loader)
    check_space(config, context.config_loader, space)
    settings = shared_settings(config, options)
    name = study_name(config, options, space, settings)
    folder = sweep_folder(config, options, name)
    store = store_at(options.storage, folder)
    study = open_study(
        store, name, space, directions=options.directions, pruner=_built(options.pruner), settings=settings,
        first=default_values(config, space) if options.baseline else None,
    )  # fmt: skip
    with store.sign_in() as owner:
        ledger = Ledger(
            study=study, store=store, space=space, owner=owner, total=options.n_trials,
            retries=options.retries, sampler=sampler_factory(_built, options.sampler, options.seed),
        )  # fmt: skip
        _save_config(config, folder)
        tracker = tracker_of(config)
        with parent_run(tracker, ledger, space) as run:
            return Sweep(
                config=config, options=options, space=space, folder=folder, ledger=ledger, launcher=launcher,
                tracker=tracker, run=run,
            ).to_the_end()  # fmt: skip


def _built(node: Any) -> Any:
    try:
        return instantiate(dict(node), _convert_="all")
    except InstantiationException as error:
        raise ConfigError(
            f"hydra.sweeper names {node.get('_target_')!r}, which cannot be built: "
            f"{str(error).splitlines()[0]}. Name a sampler or pruner as Optuna does, with its own arguments."
        ) from error


def _save_config(config: DictConfig, folder: Path) -> None:
    values = masked(OmegaConf.to_container(config, resolve=False))
    with atomic_write(folder / "multirun.yaml") as stream:
        stream.write(OmegaConf.to_yaml(OmegaConf.create(values)))  # type: ignore[call-overload]


@dataclass(kw_only=True)
class Sweep:
    """A sweep whose study is open; ``to_the_end`` is the whole of it."""

    config: DictConfig
    options: Options
    space: Space
    folder: Path
    ledger: Ledger
    launcher: Launcher
    tracker: Tracker
    run: TrackedRun
    _waited: bool = field(default=False)

    def to_the_end(self) -> dict[str, Any]:
        """Run trials until every place is finished, then the winner, then write the report."""
        log.info(
            "Study %s in %s: %d trials, %d to go.",
            *(self.ledger.study.study_name, self.ledger.store.shown, self.options.n_trials),
            self.ledger.unfinished(),
        )
        while self.ledger.unfinished():
            if trials := self.ledger.reserve(self.options.batch_size):
                self._run(trials)
            else:
                self._wait()
        best = best_trials(self.ledger.study)
        if not best:
            raise self._all_failed()
        before = self.ledger.study.user_attrs.get(WINNER)
        tag_best(self.tracker, self.ledger.trials(), best[0], before=before)
        self._discard(last=True)
        if self.options.winner:
            self._run_winner(best[0])
        self._report(best)
        return dict(best[0].params)

    def _run(self, trials: Sequence[Trial]) -> None:
        jobs = [
            self._job(
                trial.params,
                str(trial.number),
                self._place(trial_id=trial._trial_id, number=trial.number, swept=trial.params),
            )
            for trial in trials
        ]
        numbers = [trial.number for trial in trials]
        try:
            returns: Sequence[Any] = self.launcher.launch(jobs, initial_job_idx=numbers[0])
        except KeyboardInterrupt:
            for number in numbers:
                self.ledger.tell(number, Failure(reason="interrupted", again=True, counts=False))
            raise
        except Exception as error:  # noqa: BLE001 a launcher loses jobs in ways of its own; others go on
            returns = [_Lost(error)] * len(numbers)
        for number, returned in zip(numbers, returns, strict=True):
            self._settle(number, returned)
        self._discard(last=False)
        self._give_up_if_hopeless()

    def _settle(self, number: int, returned: Any) -> None:
        """Tell the study what a job came to, and the terminal in a line."""
        noted = self.ledger.trials()[number].user_attrs.get(VALUES)
        value, directions = returned._return_value, self.options.directions
        outcome: Sequence[float] | Failure | None
        if noted is not None or returned.status == JobStatus.COMPLETED:
            outcome = values_from(noted if noted is not None else value, directions)
        elif isinstance(value, PrunedError):
            outcome = None
        else:
            reason = masked_text(" ".join(str(value).split()))
            outcome = Failure(reason=reason, again=not isinstance(value, EmbexpError))
        self.ledger.tell(number, outcome)
        if isinstance(outcome, Failure):
            log.warning("Trial %d failed: %s", number, outcome.reason)
            return
        said = "pruned" if outcome is None else ", ".join(f"{each:.4f}" for each in outcome)
        best = best_trials(self.ledger.study)
        leader = f"best {best[0].values[0]:.4f}, trial {best[0].number}" if best else "none finished yet"
        log.info("Trial %d: %s (%s); %d to go.", number, said, leader, self.ledger.unfinished())

    def _job(self, values: Any, subfolder: str, place: Place) -> list[str]:
        text = QuotedString(text=place.as_text(), quote=Quote.single).with_quotes()
        return [
            *self.space.fixed,
            *self.space.overrides(values),
            f"hydra.sweep.dir={QuotedString(text=str(self.folder), quote=Quote.single).with_quotes()}",
            f"hydra.sweep.subdir={subfolder}",
            f"hydra.sweeper.place={text}",
        ]

    def _place(self, **trial: Any) -> Place:
        return Place(
            study=self.ledger.study.study_name,
            folder=str(self.folder),
            parent_run_id=self.run.run_id,
            **trial,
        )

    def _wait(self) -> None:
        if not self._waited:
            log.info("The last trials run in another sweeper; waiting for it.")
        self._waited = True
        time.sleep(WAIT_SECONDS)

    def _discard(self, *, last: bool) -> None:
        if self.options.keep_models:
            return
        with self.ledger.store.locked(self.ledger.study.study_name):
            discard_losers(self.ledger.trials(), best_trials(self.ledger.study), last=last)

    def _give_up_if_hopeless(self) -> None:
        from optuna.trial import TrialState

        trials = self.ledger.trials()
        useful = any(each.state in (TrialState.COMPLETE, TrialState.PRUNED) for each in trials)
        if not useful and len(_failed_places(trials)) >= HOPELESS:
            raise self._all_failed()

    def _all_failed(self) -> SweepError:
        failed = _failed_places(self.ledger.trials())
        reason = str(failed[-1].user_attrs.get(ERROR, "it was pruned")) if failed else "it was pruned"
        return SweepError(
            f"No trial has finished and {len(failed)} failed, the last with: {reason.rstrip('.')}. Try the "
            f"command without -m and with one trial's values; their logs are in {self.folder}."
        )

    def _run_winner(self, best: FrozenTrial) -> None:
        """Run the winner's whole command, unless this study has done so: now the test split is opened."""
        with self.ledger.store.locked(f"{self.ledger.study.study_name} winner"):
            if self.ledger.study.user_attrs.get(WINNER) == best.number and (self.folder / "winner").is_dir():
                log.info("The winner, trial %d, has been run: %s", best.number, self.folder / "winner")
                return
            log.info("The winner is trial %d; its whole command runs now.", best.number)
            job = self._job(best.params, "winner", self._place())
            returned = self.launcher.launch([job], initial_job_idx=best.number)[0]
            if returned.status != JobStatus.COMPLETED:
                reason = masked_text(str(returned._return_value)).rstrip(".")
                raise SweepError(
                    f"The sweep is finished and the winner's own run failed: {reason}. The same command "
                    "tries that run again."
                )
            self.ledger.note(WINNER, best.number)

    def _report(self, best: Sequence[FrozenTrial]) -> None:
        found = Found(
            study=self.ledger.study,
            objectives=self.options.objectives,
            directions=self.options.directions,
            total=self.options.n_trials,
            best=best,
            space=self.space.as_json(),
            storage=self.ledger.store.shown,
            command=command_of(self.config, self.space, best[0].params),
            folder=self.folder,
            winner=self.folder / "winner" if self.options.winner else None,
            baseline=default_values(self.config, self.space),
        )
        with self.ledger.store.locked(f"{self.ledger.study.study_name} report"):
            told = len(self.ledger.trials())
            page = self.folder / "sweep.html"
            if self.ledger.study.user_attrs.get(REPORTED) != told or not page.exists():
                for path in write_sweep_report(found):
                    self.run.log_artifact(path)
                self.run.log_metrics(study_metrics(self.ledger.trials(), best[0], self.options.objectives))
                self.ledger.note(REPORTED, told)
        print_sweep(found)


@dataclass(frozen=True)
class _Lost:
    """Stands for the result of a job that its launcher lost."""

    _return_value: Exception
    status: JobStatus = JobStatus.FAILED


def _failed_places(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that failed and are not repeated any more."""
    from optuna.trial import TrialState

    last: dict[int, FrozenTrial] = {}
    for trial in trials:
        last[int(trial.user_attrs.get(REPEATS, trial.number))] = trial
    return [trial for trial in last.values() if trial.state == TrialState.FAIL]
