"""The study that several sweepers share: which trial runs next, how each one ended, and what is left to do.

``n_trials`` counts *slots*. A slot holds a trial and the trials that repeat it after an error or a kill. It
is finished when one of them is COMPLETE or PRUNED. When its retries are used up, it is given up and another
slot takes its place. All decisions are made under the study's lock: two sweepers that ask for the last slot
at the same time get one trial between them, and a trial whose sweeper has died is repeated once, not twice.
"""

from __future__ import annotations

import inspect
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.errors import ConfigError
from embexp.sweeper.crashes import own_fault
from embexp.sweeper.settings import MAXIMIZE, Direction
from embexp.sweeper.space import Space
from embexp.sweeper.stores import Store, storage_errors

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, TrialState

log = logging.getLogger("embexp.sweeper")


OWNER, REPEATS, ATTEMPT, ERROR, VALUES = "owner", "repeats", "attempt", "error", "values"
RETRY = "retry"
"""The number of the attempt that retries a failed trial; stored before it fails, so no kill loses it."""
CUT_OFF = "cut_off"
"""How often the process of a slot's trials ended for no known reason."""
SPACE, SETTINGS, PARENT = "space", "settings", "parent_run_id"
WINNER, REPORTED = "winner", "reported"
PROCESS_ENDED = "its process ended"
OFTEN = 3
"""A trial that is cut off so often may be the cause itself, which the log then says."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a trial has no value.

    Args:
        reason: The error in one sentence.
        retry: Whether the same values may succeed in another trial.
        counts: Whether a retry uses up one of ``retries``.
    """

    reason: str
    retry: bool
    counts: bool = True


@dataclass(kw_only=True)
class SharedStudy:
    """A study as one of its sweepers sees it; ``ask`` and ``tell`` are Optuna's, made safe between processes.

    Args:
        study: Optuna's study.
        store: Where it is kept.
        space: What is swept.
        total: The number of slots.
        retries: How often a trial is repeated after an error or a crash of its own. What else ends a sweeper,
            such as a kill, uses up none of them.
        owner: The name of this sweeper's liveness lock.
        sampler: Returns the sampler for the trial with a given number.
        crashes: The folder in which each sweeper keeps the record of its process; None without one.
        exhausted: Whether the sampler has no further values.
    """

    study: Study
    store: Store
    space: Space
    total: int
    retries: int
    owner: str
    sampler: Callable[[int], BaseSampler]
    crashes: Path | None = None
    exhausted: bool = False

    def crash_record(self, owner: str | None = None) -> Path | None:
        """Return where a sweeper, this one by default, keeps the record of its process."""
        return self.crashes / f"{owner or self.owner}.txt" if self.crashes else None

    def ask(self, count: int) -> list[Trial]:
        """Return up to ``count`` trials to run: repetitions of dead ones first, then new ones.

        A trial whose sweeper was killed before all its parameters were suggested gets the rest and is run:
        samplers that enumerate the space cannot handle a failed trial without parameters.
        """
        trials: list[Trial] = []
        with self.store.lock(self.study.study_name), storage_errors(self.store.display_name):
            self._fail_dead_trials()
            self._enqueue_retries()
            while len(trials) < count and self._may_start():
                with quiet():
                    trial = self._undrawn_or_new()
                    self.space.draw(trial)
                trial.set_user_attr(OWNER, self.owner)
                trials.append(trial)
        return trials

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, of all sweepers."""
        return self.study.get_trials(deepcopy=False)

    def unfinished(self) -> int:
        """Return how many slots are running or still free."""
        from optuna.trial import TrialState

        busy = sum(each.state in (TrialState.RUNNING, TrialState.WAITING) for each in self.trials())
        return busy + (0 if self.exhausted else max(self.total - _used_slots(self.trials()), 0))

    def tell(self, number: int, outcome: Sequence[float] | Failure | None) -> None:
        """Record how a running trial ended: its values, a failure, or None for pruned.

        The result is dropped if another sweeper has taken the trial over, because this one seemed dead.
        """
        from optuna.trial import TrialState

        with self.store.lock(self.study.study_name), storage_errors(self.store.display_name):
            trial = self.trials()[number]
            if trial.state != TrialState.RUNNING or trial.user_attrs.get(OWNER) != self.owner:
                log.warning("Trial %d was taken over by another sweeper; its result is dropped.", number)
                return
            if isinstance(outcome, Failure):
                self._fail(trial, outcome)
                return
            self._finish(number, outcome, TrialState.PRUNED if outcome is None else TrialState.COMPLETE)

    def note(self, key: str, value: Any) -> None:
        """Store a user attribute with the study."""
        with storage_errors(self.store.display_name):
            self.study.set_user_attr(key, value)

    def _may_start(self) -> bool:
        from optuna.trial import TrialState

        waiting = any(each.state == TrialState.WAITING for each in self.trials())
        return (
            waiting
            or self._undrawn() is not None
            or (not self.exhausted and _used_slots(self.trials()) < self.total)
        )

    def _undrawn(self) -> FrozenTrial | None:
        """Return a trial whose sweeper was killed in ``ask``, which sets the owner last; None without one."""
        from optuna.trial import TrialState

        running = (trial for trial in self.trials() if trial.state == TrialState.RUNNING)
        return next((trial for trial in running if OWNER not in trial.user_attrs), None)

    def _undrawn_or_new(self) -> Trial:
        from optuna import Trial

        undrawn = self._undrawn()
        self.study.sampler = self.sampler(undrawn.number if undrawn else len(self.trials()))
        return Trial(self.study, undrawn._trial_id) if undrawn else self.study.ask()

    def _fail_dead_trials(self) -> None:
        from optuna.trial import TrialState

        for trial in self.trials():
            owner = trial.user_attrs.get(OWNER)
            if trial.state != TrialState.RUNNING or owner in (None, self.owner) or self.store.is_alive(owner):
                continue
            values = trial.user_attrs.get(VALUES)
            if values is not None:  # the job had finished, but its sweeper died before ``tell``
                self._finish(trial.number, values, TrialState.COMPLETE)
                continue
            self._fail(trial, self._end_of(owner))

    def _end_of(self, owner: str) -> Failure:
        """Return why the trial of a sweeper that is gone has no value; only its own doing counts."""
        record = self.crash_record(owner)
        fault = own_fault(record) if record else None
        return Failure(reason=fault or PROCESS_ENDED, retry=True, counts=fault is not None)

    def _finish(self, number: int, values: Sequence[float] | None, state: TrialState) -> None:
        try:
            self.study.tell(number, values, state=state)
        except RuntimeError as error:
            # Grid and brute-force samplers stop a study when nothing is left, which Optuna allows within its
            # own loop only. The trial is stored by then.
            if "Study.stop" not in str(error):
                raise
            self.exhausted = True

    def _fail(self, trial: FrozenTrial, failure: Failure) -> None:
        """Fail a trial, and queue its values again if it may be retried."""
        from optuna.trial import TrialState

        attempt = int(trial.user_attrs.get(ATTEMPT, 1))
        again = failure.retry and not (failure.counts and attempt > self.retries)
        notes = {ERROR: failure.reason} | ({RETRY: attempt + failure.counts} if again else {})
        for key, value in notes.items():
            self.study._storage.set_trial_user_attr(trial._trial_id, key, value)
        self._finish(trial.number, None, TrialState.FAIL)
        if not again:
            log.warning(
                "Trial %d is given up: %s (attempt %d). It does not count as one of the %d trials.",
                *(trial.number, failure.reason.rstrip("."), attempt, self.total),
            )
            return
        level = logging.WARNING if failure.counts else logging.INFO
        log.log(level, "Trial %d is repeated: %s.", trial.number, failure.reason.rstrip("."))
        self._enqueue_retries()

    def _enqueue_retries(self) -> None:
        """Queue a retry of each failed trial that is to have one and has none yet."""
        for trial in last_trials(self.trials()):
            if given_up(trial) and RETRY in trial.user_attrs:
                cut_off = trial.user_attrs[ERROR] == PROCESS_ENDED
                self._repeat(trial, int(trial.user_attrs[RETRY]), cut_off=cut_off)

    def _repeat(self, trial: FrozenTrial, attempt: int, *, cut_off: bool) -> None:
        """Queue a trial's values again; a trial that is cut off again and again is named."""
        from optuna.trial import TrialState, create_trial

        origin = trial.user_attrs.get(REPEATS, trial.number)
        times = int(trial.user_attrs.get(CUT_OFF, 0)) + cut_off
        if cut_off and times >= OFTEN:
            log.warning(
                "The process has ended %d times while trial %d ran, and nothing shows why. If the trial "
                "itself ends it, as by using more memory than there is, take its values out of the space: "
                "%s.",
                *(times, origin, trial.params),
            )
        queued = {key: value for key, value in trial.system_attrs.items() if key == "fixed_params"}
        self.study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={REPEATS: origin, ATTEMPT: attempt, CUT_OFF: times},
                system_attrs=queued,
            )
        )


def _used_slots(trials: Sequence[FrozenTrial]) -> int:
    """Return how many slots are running, waiting or finished: those that are given up do not count."""
    return sum(not given_up(trial) for trial in last_trials(trials))


def last_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the last trial of each slot, slots in the order in which they began."""
    last: dict[int, FrozenTrial] = {}
    for trial in trials:
        last[int(trial.user_attrs.get(REPEATS, trial.number))] = trial
    return list(last.values())


def given_up(last_trial: FrozenTrial) -> bool:
    """Return whether a slot is given up, judged by its last trial: one that failed was not repeated."""
    from optuna.trial import TrialState

    return last_trial.state == TrialState.FAIL


def open_study(
    store: Store,
    name: str,
    space: Space,
    *,
    directions: Sequence[Direction],
    pruner: BasePruner,
    settings: Mapping[str, str],
    first: Mapping[str, Any] | None,
) -> Study:
    """Create the study, or load it if it exists.

    Args:
        store: Where studies are kept.
        name: The study's name.
        space: What is swept.
        directions: ``maximize`` or ``minimize`` for each objective.
        pruner: Decides which trials to stop early.
        settings: The settings that all trials share, by key; they are the same for all trials of a study.
        first: Values to try first; None for none.

    Raises:
        ConfigError: The existing study has another space, other settings or other directions.
        SweepError: The storage cannot be used.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with store.lock(name):
        storage = store.open()
        with storage_errors(store.display_name), quiet():
            if name in {each.study_name for each in storage.get_all_studies()}:
                study = optuna.load_study(study_name=name, storage=storage, pruner=pruner)
            else:
                study = optuna.create_study(
                    study_name=name, storage=storage, pruner=pruner, directions=list(directions)
                )
            _check_same(study, space, directions, settings)
            if SPACE not in study.user_attrs:
                study.set_user_attr(SETTINGS, dict(settings))
                study.set_user_attr(SPACE, space.as_json())
            if first is not None and not study.get_trials(deepcopy=False):
                study.enqueue_trial(dict(first))
    return study


def _check_same(
    study: Study, space: Space, directions: Sequence[Direction], settings: Mapping[str, str]
) -> None:
    remedy = "set hydra.sweeper.study_name to a new name, or repeat the command that started it."
    before = [direction.name.lower() for direction in study.directions]
    if before != list(directions):
        raise ConfigError(
            f"The study {study.study_name} is to {' and '.join(before)}, not to {' and '.join(directions)}: "
            f"{remedy}"
        )
    for kind, new in ((SPACE, space.as_json()), (SETTINGS, dict(settings))):
        old = study.user_attrs.get(kind, new)
        if old == new:
            continue
        key = next(key for key in sorted({*old, *new}) if old.get(key) != new.get(key))
        raise ConfigError(
            f"The study {study.study_name} has other trials: {key} was {old.get(key, 'not set')} and is now "
            f"{new.get(key, 'not set')}. {remedy[0].upper()}{remedy[1:]}"
        )


def sampler_factory(
    build: Callable[[Mapping[str, Any]], Any], settings: Mapping[str, Any], seed: int | None
) -> Callable[[int], BaseSampler]:
    """Return a function that builds the sampler for the trial with a given number.

    Each trial gets its own generator, seeded with ``seed`` plus its number: a sweep that resumes after a kill
    draws new values instead of the first ones again, and two sweepers never draw the same. A quasi-random
    sampler keeps its seed, since it continues one sequence; so does a sampler with a configured seed.
    """
    import optuna

    if seed is None or "seed" in settings:
        return lambda _: build(settings)
    name = str(settings.get("_target_", "")).rpartition(".")[2]
    kind = getattr(optuna.samplers, name, None)
    if kind is None or "seed" not in inspect.signature(kind).parameters:
        return lambda _: build(settings)
    if issubclass(kind, optuna.samplers.QMCSampler):
        return lambda _: build({**settings, "seed": seed})
    return lambda number: build({**settings, "seed": seed + number})


def values_from(returned: Any, directions: Sequence[str]) -> list[float] | Failure:
    """Return a task's return value as one number per objective, or why that is impossible."""
    values = list(returned) if isinstance(returned, (list, tuple)) else [returned]
    if len(values) != len(directions):
        return Failure(
            reason=f"it returned {len(values)} values where hydra.sweeper has {len(directions)} objectives",
            retry=False,
        )
    if any(value is None for value in values):
        return Failure(
            reason="it returned no score: there are no dev questions (split.dev, trainer.evaluations)",
            retry=False,
        )
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in values):
        return Failure(reason=f"it returned {values}, which are no finite numbers", retry=False)
    return [float(value) for value in values]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's warnings about experimental features and reused names."""
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def best_trials(study: Study) -> list[FrozenTrial]:
    """Return the winner and, with several objectives, the rest of the Pareto front.

    The winner is the best trial by the first objective; of two equal trials, the earlier one.
    """
    from optuna.trial import TrialState

    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return []
    if len(study.directions) == 1:
        return [study.best_trial]
    sign = -1 if study.directions[0].name.lower() == MAXIMIZE else 1
    return sorted(study.best_trials, key=lambda trial: (sign * (trial.values or [0])[0], trial.number))
