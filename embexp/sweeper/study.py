"""The study that sweepers share: which trial comes next, what became of one, and when all are done.

``n_trials`` counts *places*. A place is taken by a trial and by the trials that repeat it after an
error or a kill; it is finished when one of them is COMPLETE or PRUNED, or when it has failed as often
as it may. All decisions are made under the store's lock: two sweepers that ask at the same moment for
the last place get one trial between them, and a trial whose sweeper has died is repeated once, not
twice.
"""

from __future__ import annotations

import inspect
import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embexp.errors import ConfigError
from embexp.sweeper.options import Direction
from embexp.sweeper.space import Space
from embexp.sweeper.stores import Store, storage_errors

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial, TrialState

log = logging.getLogger("embexp.sweeper")
OWNER, REPEATS, ATTEMPT, ERROR, VALUES = "owner", "repeats", "attempt", "error", "values"
SPACE, SETTINGS, PARENT = "space", "settings", "parent_run_id"
WINNER, REPORTED = "winner", "reported"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a trial has no value; ``again`` says whether another attempt may end otherwise."""

    reason: str
    again: bool
    counts: bool = True


@dataclass(kw_only=True)
class Ledger:
    """A study, seen by one sweeper.

    Args:
        study: Optuna's study.
        store: Where it is kept.
        space: What is swept.
        total: The number of places.
        retries: How often a trial is repeated after an error or a kill.
        owner: This sweeper's name in the store.
        sampler: Returns the sampler for the trial of a number.
    """

    study: Study
    store: Store
    space: Space
    total: int
    retries: int
    owner: str
    sampler: Callable[[int], BaseSampler]
    exhausted: bool = False

    def reserve(self, count: int) -> list[Trial]:
        """Return up to ``count`` trials to run: repeats of dead ones first, then new ones."""
        reserved: list[Trial] = []
        with self.store.locked(self.study.study_name), storage_errors(self.store.shown):
            self._take_back_from_the_dead()
            while len(reserved) < count and self._may_start():
                with quiet():
                    self.study.sampler = self.sampler(len(self.trials()))
                    trial = self.study.ask(dict(self.space.swept))
                trial.set_user_attr(OWNER, self.owner)
                reserved.append(trial)
        return reserved

    def trials(self) -> list[FrozenTrial]:
        """Return every trial there is, of all sweepers."""
        return self.study.get_trials(deepcopy=False)

    def unfinished(self) -> int:
        """Return how many places are still worked on or to be taken."""
        from optuna.trial import TrialState

        busy = sum(each.state in (TrialState.RUNNING, TrialState.WAITING) for each in self.trials())
        return busy + (0 if self.exhausted else max(self.total - places(self.trials()), 0))

    def tell(self, number: int, outcome: Sequence[float] | Failure | None) -> None:
        """Record what became of a running trial: its values, a failure, or None for pruned.

        A trial that has been taken away meanwhile, because this sweeper was thought dead, is left as it is.
        """
        from optuna.trial import TrialState

        with self.store.locked(self.study.study_name), storage_errors(self.store.shown):
            trial = self.trials()[number]
            if trial.state != TrialState.RUNNING or trial.user_attrs.get(OWNER) != self.owner:
                log.warning("Trial %d was taken over by another sweeper; its result is dropped.", number)
                return
            if isinstance(outcome, Failure):
                self._fail(trial, outcome)
                return
            self._finish(number, outcome, TrialState.PRUNED if outcome is None else TrialState.COMPLETE)

    def note(self, key: str, value: Any) -> None:
        """Keep a fact with the study."""
        with storage_errors(self.store.shown):
            self.study.set_user_attr(key, value)

    def _may_start(self) -> bool:
        from optuna.trial import TrialState

        waiting = any(each.state == TrialState.WAITING for each in self.trials())
        return waiting or (not self.exhausted and places(self.trials()) < self.total)

    def _take_back_from_the_dead(self) -> None:
        from optuna.trial import TrialState

        for trial in self.trials():
            # Reserving names the owner under the lock: a running trial without one was cut off in it.
            owner = trial.user_attrs.get(OWNER, "")
            if trial.state != TrialState.RUNNING or owner == self.owner or self.store.alive(owner):
                continue
            if (
                values := trial.user_attrs.get(VALUES)
            ) is not None:  # the job had ended, its sweeper not told it
                self._finish(trial.number, values, TrialState.COMPLETE)
                continue
            log.info("Trial %d was cut off when its process ended.", trial.number)
            self._fail(trial, Failure(reason="its process ended", again=True))

    def _finish(self, number: int, values: Sequence[float] | None, state: TrialState) -> None:
        try:
            self.study.tell(number, values, state=state)
        except RuntimeError as error:
            # Grid and brute-force samplers stop a study when nothing is left, which Optuna allows within
            # its own loop only. The trial has been stored by then.
            if "Study.stop" not in str(error):
                raise
            self.exhausted = True

    def _fail(self, trial: FrozenTrial, failure: Failure) -> None:
        """Fail a trial, and queue the same values again where that is allowed."""
        from optuna.trial import TrialState, create_trial

        self.study._storage.set_trial_user_attr(trial._trial_id, ERROR, failure.reason)
        self._finish(trial.number, None, TrialState.FAIL)
        attempt = int(trial.user_attrs.get(ATTEMPT, 1))
        if not failure.again or (failure.counts and attempt > self.retries):
            return
        origin = trial.user_attrs.get(REPEATS, trial.number)
        queued = {key: value for key, value in trial.system_attrs.items() if key == "fixed_params"}
        self.study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={REPEATS: origin, ATTEMPT: attempt + failure.counts},
                system_attrs=queued,
            )
        )


def places(trials: Sequence[FrozenTrial]) -> int:
    """Return how many places are taken: trials that repeat no other."""
    return sum(REPEATS not in each.user_attrs for each in trials)


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
    """Create the study or take it up where it was left.

    Args:
        store: Where studies are kept.
        name: The study's name.
        space: What is swept.
        directions: ``maximize`` or ``minimize`` for each objective.
        pruner: Decides which trials are not worth finishing.
        settings: What all trials share, by key; a study mixes no two kinds of trials.
        first: Values to try first, None for none.

    Raises:
        ConfigError: The study has another space, other settings or other directions.
        SweepError: The storage cannot be used.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with store.locked(name):
        storage = store.open()
        with storage_errors(store.shown), quiet():
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
    remedy = "set hydra.sweeper.study_name to a new name, or repeat the command that began it."
    had = [direction.name.lower() for direction in study.directions]
    if had != list(directions):
        raise ConfigError(
            f"The study {study.study_name} is to {' and '.join(had)}, not to {' and '.join(directions)}: "
            f"{remedy}"
        )
    known = study.user_attrs
    for kind, now in ((SPACE, space.as_json()), (SETTINGS, dict(settings))):
        if kind not in known or known[kind] == now:
            continue
        before = known[kind]
        key = next(each for each in sorted({*before, *now}) if before.get(each) != now.get(each))
        raise ConfigError(
            f"The study {study.study_name} has other trials: {key} was {before.get(key, 'not there')} and is "
            f"now {now.get(key, 'not there')}. {remedy[0].upper()}{remedy[1:]}"
        )


def sampler_factory(
    build: Callable[[Mapping[str, Any]], Any], settings: Mapping[str, Any], seed: int | None
) -> Callable[[int], BaseSampler]:
    """Return a function that builds the sampler for the trial of a number.

    Each trial gets a generator of its own, seeded with ``seed`` and its number: a sweep that goes on
    after a kill then draws new values, not the first ones again, and two sweepers never draw the same.
    A quasi-random sequence is one sequence, so that sampler keeps its seed; so does one that names its
    own.
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
    """Return what a task gave back as values, or why they cannot be used."""
    found = list(returned) if isinstance(returned, (list, tuple)) else [returned]
    if len(found) != len(directions):
        return Failure(
            reason=f"it returned {len(found)} values where hydra.sweeper has {len(directions)} objectives",
            again=False,
        )
    if any(value is None for value in found):
        return Failure(
            reason="it returned no score: there are no dev questions (split.dev, trainer.evaluations)",
            again=False,
        )
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in found):
        return Failure(reason=f"it returned {found}, which are no finite numbers", again=False)
    return [float(value) for value in found]


class quiet(warnings.catch_warnings):  # noqa: N801 reads as a statement
    """Keep Optuna's remarks on experimental features and reused names from the terminal."""

    def __enter__(self) -> None:
        super().__enter__()
        import optuna

        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)
