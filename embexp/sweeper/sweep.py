"""A sweep from the first trial to the winner's report."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobStatus
from hydra.errors import InstantiationException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from embexp.config.saved import write_configuration
from embexp.errors import ConfigError, EmbexpError, PrunedError, SweepError
from embexp.masking import masked_text
from embexp.sweeper.crashes import crash_record
from embexp.sweeper.parent_run import open_parent_run, tag_best
from embexp.sweeper.report import SweepResult, print_sweep, write_sweep_report
from embexp.sweeper.settings import Options, read_options, shared_settings, study_name, sweep_folder
from embexp.sweeper.space import (
    check_space,
    command_of,
    default_values,
    hydra_config_set,
)
from embexp.sweeper.stores import store_at
from embexp.sweeper.study import (
    ERROR,
    REPORTED,
    VALUES,
    WINNER,
    Failure,
    SharedStudy,
    best_trials,
    given_up,
    last_trials,
    open_study,
    sampler_factory,
    values_from,
)
from embexp.sweeper.syntax import parse_space
from embexp.sweeper.trial import TrialSlot, discard_losers
from embexp.tracking.tracker import NoTracker

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

    from embexp.tracking.tracker import TrackedRun, Tracker

log = logging.getLogger("embexp.sweeper")
WAIT_SECONDS = 1.0
MAX_FIRST_FAILURES = 3
"""A sweep stops when so many slots are given up before any has finished."""
MAX_FAILURES_IN_A_ROW = 10
"""A sweep stops when so many slots in a row are given up: others that take their place would fail too."""


def run_sweep(config: DictConfig, context: HydraContext, launcher: Launcher, arguments: Sequence[str]) -> Any:
    """Run or resume a sweep, then the winner, and write the report to the sweep's folder.

    Returns:
        The winner's values by key.

    Raises:
        ConfigError: The space or an option is invalid.
        SweepError: The storage cannot be used, or every trial failed.
    """
    options = read_options(config.hydra.sweeper)
    space = parse_space(options.params, arguments, context.config_loader, conditional=options.conditional)
    check_space(config, context.config_loader, space)
    settings = shared_settings(config, options)
    name = study_name(config, options, space, settings)
    folder = sweep_folder(config, options, name)
    store = store_at(options.storage, folder)
    study = open_study(
        store,
        name,
        space,
        directions=options.directions,
        pruner=_built(options.pruner),
        settings=settings,
        first=default_values(config, space) if options.baseline else None,
    )
    with store.liveness_lock() as owner:
        shared = SharedStudy(
            study=study,
            store=store,
            space=space,
            owner=owner,
            total=options.n_trials,
            retries=options.retries,
            sampler=sampler_factory(_built, options.sampler, options.seed),
            crashes=folder / "crashes",
        )
        write_configuration(folder / "multirun.yaml", OmegaConf.to_container(config))
        tracker = _tracker(config)
        with open_parent_run(tracker, shared) as run:
            sweep = _Sweep(
                config=config,
                options=options,
                folder=folder,
                shared=shared,
                launcher=launcher,
                tracker=tracker,
                run=run,
            )
            return sweep.run_to_end()


def _built(node: Any) -> Any:
    try:
        return instantiate(dict(node), _convert_="all")
    except InstantiationException as error:
        raise ConfigError(
            f"hydra.sweeper names {node.get('_target_')!r}, which cannot be built: "
            f"{str(error).splitlines()[0]}. Name a sampler or pruner as Optuna does, with its own arguments."
        ) from error


def _tracker(config: DictConfig) -> Tracker:
    """Return the configured tracker; the null tracker for an application without one."""
    node = OmegaConf.select(config, "tracker")
    if node is None:
        return NoTracker()
    with hydra_config_set(config):
        tracker: Tracker = instantiate(node, _convert_="all")
    tracker.prepare()
    return tracker


@dataclass(kw_only=True)
class _Sweep:
    """A sweep whose study is open."""

    config: DictConfig
    options: Options
    folder: Path
    shared: SharedStudy
    launcher: Launcher
    tracker: Tracker
    run: TrackedRun
    _waiting: bool = False

    def run_to_end(self) -> dict[str, Any]:
        """Run trials until every slot is finished, then the winner, then write the report."""
        log.info(
            "Study %s in %s: %d trials, %d to go.",
            self.shared.study.study_name,
            self.shared.store.display_name,
            self.options.n_trials,
            self.shared.unfinished(),
        )
        while self.shared.unfinished():
            if trials := self.shared.ask(self.options.batch_size):
                self._run(trials)
            else:
                self._wait()
        best = best_trials(self.shared.study)
        if not best:
            raise self._all_failed()
        self._say_what_is_missing()
        tag_best(self.tracker, self.shared, best[0])
        self._discard_losers(last=True)
        if self.options.winner:
            self._run_winner(best[0])
        self._report(best)
        return dict(best[0].params)

    def _run(self, trials: Sequence[Trial]) -> None:
        jobs = [
            self._job(
                trial.params,
                str(trial.number),
                self._slot(trial_id=trial._trial_id, number=trial.number, swept=trial.params),
            )
            for trial in trials
        ]
        numbers = [trial.number for trial in trials]
        record = self.shared.crash_record()
        try:
            with crash_record(record) if record else nullcontext():
                returns: Sequence[Any] = self.launcher.launch(jobs, initial_job_idx=numbers[0])
        except KeyboardInterrupt:
            for number in numbers:
                self.shared.tell(number, Failure(reason="interrupted", retry=True, counts=False))
            raise
        except Exception as error:  # noqa: BLE001 - launchers lose jobs in many ways; the other trials go on
            returns = [_Lost(error)] * len(numbers)
        for number, returned in zip(numbers, returns, strict=True):
            self._record(number, returned)
        self._discard_losers(last=False)
        self._stop_if_too_many_fail()

    def _record(self, number: int, returned: Any) -> None:
        """Record how a job ended in the study, and log it in a line."""
        # A trial of ours stores its values itself; a launcher may lose the return value after that.
        noted = self.shared.trials()[number].user_attrs.get(VALUES)
        value, directions = returned._return_value, self.options.directions
        outcome: Sequence[float] | Failure | None
        if noted is not None or returned.status == JobStatus.COMPLETED:
            outcome = values_from(noted if noted is not None else value, directions)
        elif isinstance(value, PrunedError):
            outcome = None
        else:
            reason = masked_text(" ".join(str(value).split()))
            outcome = Failure(reason=reason, retry=not isinstance(value, EmbexpError))
        self.shared.tell(number, outcome)
        if isinstance(outcome, Failure):
            return
        result = "pruned" if outcome is None else ", ".join(f"{each:.4f}" for each in outcome)
        best = best_trials(self.shared.study)
        leader = f"best {best[0].values[0]:.4f}, trial {best[0].number}" if best else "none finished yet"
        log.info("Trial %d: %s (%s); %d to go.", number, result, leader, self.shared.unfinished())

    def _job(self, values: Any, subfolder: str, slot: TrialSlot) -> list[str]:
        return [
            *self.shared.space.fixed,
            *self.shared.space.overrides(values),
            f"hydra.sweep.dir={_quoted(str(self.folder))}",
            f"hydra.sweep.subdir={subfolder}",
            f"hydra.sweeper.trial_slot={_quoted(slot.as_text())}",
        ]

    def _slot(self, **trial: Any) -> TrialSlot:
        return TrialSlot(
            study=self.shared.study.study_name,
            folder=str(self.folder),
            parent_run_id=self.run.run_id,
            **trial,
        )

    def _wait(self) -> None:
        if not self._waiting:
            log.info("Another sweeper is running the last trials; waiting for it.")
        self._waiting = True
        time.sleep(WAIT_SECONDS)

    def _discard_losers(self, *, last: bool) -> None:
        if self.options.keep_models:
            return
        with self.shared.store.lock(self.shared.study.study_name):
            discard_losers(self.shared.trials(), best_trials(self.shared.study), last=last)

    def _stop_if_too_many_fail(self) -> None:
        slots = last_trials(self.shared.trials())
        failed, recent = list(filter(given_up, slots)), slots[-MAX_FAILURES_IN_A_ROW:]
        if len(failed) == len(slots) >= MAX_FIRST_FAILURES:
            raise self._all_failed()
        if len(recent) == MAX_FAILURES_IN_A_ROW and all(map(given_up, recent)):
            raise SweepError(
                f"The last {len(recent)} trials were given up, the last one with: {_reason(recent)}. Take "
                "what cannot run out of the space. What has finished is kept: hydra.sweeper.n_trials="
                f"{len(slots) - len(failed)} ends the sweep with it."
            )

    def _all_failed(self) -> SweepError:
        failed = list(filter(given_up, last_trials(self.shared.trials())))
        return SweepError(
            f"No trial has finished and {len(failed)} failed, the last with: {_reason(failed)}. Try the "
            f"command without -m and with one trial's values; their logs are in {self.folder}."
        )

    def _say_what_is_missing(self) -> None:
        """Say so if the space is used up before all trials have finished."""
        slots = last_trials(self.shared.trials())
        failed = sum(map(given_up, slots))
        if len(slots) - failed < self.options.n_trials:
            log.warning(
                "The space has no further values: %d of %d trials have finished, %d were given up.",
                *(len(slots) - failed, self.options.n_trials, failed),
            )

    def _run_winner(self, best: FrozenTrial) -> None:
        """Run the winner's whole command, unless this study has done so; this opens the test split."""
        with self.shared.store.lock(f"{self.shared.study.study_name} winner"):
            if self.shared.study.user_attrs.get(WINNER) == best.number and (self.folder / "winner").is_dir():
                log.info("The winner, trial %d, is already in %s.", best.number, self.folder / "winner")
                return
            log.info("Trial %d wins; running its full command now.", best.number)
            job = self._job(best.params, "winner", self._slot())
            returned = self.launcher.launch([job], initial_job_idx=best.number)[0]
            if returned.status != JobStatus.COMPLETED:
                reason = masked_text(str(returned._return_value)).rstrip(".")
                raise SweepError(
                    f"The sweep is finished, but the winner's own run failed: {reason}. Run the same command "
                    "again to repeat that run."
                )
            self.shared.note(WINNER, best.number)

    def _report(self, best: Sequence[FrozenTrial]) -> None:
        space = self.shared.space
        result = SweepResult(
            study=self.shared.study,
            objectives=self.options.objectives,
            directions=self.options.directions,
            total=self.options.n_trials,
            best=best,
            space=space.as_json(),
            storage=self.shared.store.display_name,
            command=command_of(self.config, space, best[0].params),
            folder=self.folder,
            winner=self.folder / "winner" if self.options.winner else None,
            baseline=default_values(self.config, space),
        )
        with self.shared.store.lock(f"{self.shared.study.study_name} report"):
            trials = self.shared.trials()
            page = self.folder / "sweep.html"
            if self.shared.study.user_attrs.get(REPORTED) != len(trials) or not page.exists():
                for path in write_sweep_report(result):
                    self.run.log_artifact(path)
                self.run.log_metrics(_study_metrics(trials, best[0], self.options.objectives))
                self.shared.note(REPORTED, len(trials))
        print_sweep(result)


@dataclass(frozen=True)
class _Lost:
    """Stands in for the return of a job that its launcher has lost."""

    _return_value: Exception
    status: JobStatus = JobStatus.FAILED


def _reason(failed: Sequence[FrozenTrial]) -> str:
    """Return why the last of some trials failed."""
    reason = failed[-1].user_attrs.get(ERROR) if failed else None
    return str(reason or "it was pruned").rstrip(".")


def _quoted(text: str) -> str:
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def _study_metrics(
    trials: Sequence[FrozenTrial], best: FrozenTrial, objectives: Sequence[str]
) -> Mapping[str, float]:
    """Return a study's metrics for the tracker: trials by state, and the best values."""
    counts: dict[str, float] = {}
    for trial in trials:
        name = f"trials/{trial.state.name.lower()}"
        counts[name] = counts.get(name, 0.0) + 1.0
    return {**counts, **{f"best/{name}": value for name, value in zip(objectives, best.values, strict=False)}}
