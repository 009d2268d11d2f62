"""The study's own run in the tracker: its trials and the winner's run stand below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from embexp.sweeper.identity import known_to_hydra
from embexp.sweeper.space import Space, described
from embexp.sweeper.study import PARENT, Ledger
from embexp.tracking.provenance import provenance
from embexp.tracking.tracker import NoTracker

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from embexp.tracking.tracker import TrackedRun, Tracker


def tracker_of(config: DictConfig) -> Tracker:
    """Return the configured tracker; one that keeps nothing for an application that has none."""
    node = OmegaConf.select(config, "tracker")
    if node is None:
        return NoTracker()
    with known_to_hydra(config):
        tracker: Tracker = instantiate(node, _convert_="all")
    tracker.prepare()
    return tracker


@contextmanager
def parent_run(tracker: Tracker, ledger: Ledger, space: Space) -> Iterator[TrackedRun]:
    """Open the study's run, or the one that an earlier command or another sweeper has opened for it.

    Several sweepers share the run: each marks it as ended when it is done, and as running when it begins.
    """
    with ledger.store.locked(f"{ledger.study.study_name} parent"):
        known = ledger.study.user_attrs.get(PARENT)
        if not known:
            params: dict[str, object] = {
                **{f"space.{key}": described(text) for key, text in space.as_json().items()},
                "n_trials": ledger.total,
            }
            tags = {"study": ledger.study.study_name, "stage": "sweep", **provenance()}
            with tracker.run(ledger.study.study_name, params=params, tags=tags) as created:
                known = created.run_id
            ledger.note(PARENT, known)
    with tracker.resume(known) as run:
        yield run


def tag_best(
    tracker: Tracker, trials: Sequence[FrozenTrial], best: FrozenTrial, *, before: int | None
) -> None:
    """Tag the best trial's run, and take the tag from one that was the best before."""
    for trial in trials:
        run_id, is_best = trial.user_attrs.get("run_id"), trial.number == best.number
        if run_id and (is_best or trial.number == before):
            tracker.tag(run_id, {"best": str(is_best).lower()})


def study_metrics(
    trials: Sequence[FrozenTrial], best: FrozenTrial, objectives: Sequence[str]
) -> Mapping[str, float]:
    """Return what the tracker's table shows of a study: its counts and the best values."""
    counts: dict[str, float] = {}
    for trial in trials:
        name = f"trials/{trial.state.name.lower()}"
        counts[name] = counts.get(name, 0.0) + 1.0
    return {**counts, **{f"best/{name}": value for name, value in zip(objectives, best.values, strict=False)}}
