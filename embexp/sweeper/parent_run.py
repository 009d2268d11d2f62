"""The run in the tracker that a sweep's trials are nested under, and the tag of the best one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from embexp.errors import RunMissingError
from embexp.sweeper.space import described
from embexp.sweeper.study import PARENT, REPORTED, WINNER, SharedStudy
from embexp.tracking.provenance import provenance

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from embexp.tracking.tracker import TrackedRun, Tracker

log = logging.getLogger("embexp.sweeper")


@contextmanager
def open_parent_run(tracker: Tracker, shared: SharedStudy) -> Iterator[TrackedRun]:
    """Open the study's run in the tracker, the parent of all trials; create it if this sweeper is the first.

    Several sweepers share the run: each marks it as running when it begins, and as ended when it is done. A
    study outlives its run, which may have been deleted, or be in a tracker that is not used any more.
    """
    study = shared.study
    with ExitStack() as stack:
        with shared.store.lock(f"{study.study_name} parent"):
            run = _resumed(tracker, study.user_attrs.get(PARENT), stack)
            if run is None:
                run_id = _create_parent(tracker, shared)
                shared.note(PARENT, run_id)
                shared.note(REPORTED, None)  # the new run has no report yet
                run = stack.enter_context(tracker.resume(run_id))
        yield run


def _resumed(tracker: Tracker, run_id: str | None, stack: ExitStack) -> TrackedRun | None:
    """Reopen the study's run; None if there is none any more."""
    if not run_id:
        return None
    try:
        return stack.enter_context(tracker.resume(run_id))
    except RunMissingError as error:
        log.warning("%s The sweep goes on under a new parent run; its study has all trials.", error)
        return None


def _create_parent(tracker: Tracker, shared: SharedStudy) -> str:
    params: dict[str, object] = {
        **{f"space.{key}": described(text) for key, text in shared.space.as_json().items()},
        "n_trials": shared.total,
    }
    name = shared.study.study_name
    tags = {"study": name, "stage": "sweep", **provenance()}
    with tracker.run(name, params=params, tags=tags) as created:
        return created.run_id


def tag_best(tracker: Tracker, shared: SharedStudy, best: FrozenTrial) -> None:
    """Tag the best trial's run, and untag one that was the best before."""
    before = shared.study.user_attrs.get(WINNER)
    for trial in shared.trials():
        run_id, is_best = trial.user_attrs.get("run_id"), trial.number == best.number
        if not run_id or not (is_best or trial.number == before):
            continue
        try:
            tracker.tag(run_id, {"best": str(is_best).lower()})
        except RunMissingError as error:
            log.warning("%s Trial %d, the best, has no tag there.", error, trial.number)
