"""Where runs are kept, and the trial that a run may be."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from embexp.types import (
    Registered,
    TrainingStep,
    Verdict,
)

if TYPE_CHECKING:
    pass


class TrackedRun(Protocol):
    """An open run of the tracker."""

    @property
    def experiment(self) -> str:
        """The experiment's name."""

    @property
    def run_id(self) -> str:
        """The run's id, empty where nothing is kept."""

    def child(
        self, name: str, *, params: Mapping[str, object], tags: Mapping[str, str]
    ) -> AbstractContextManager[TrackedRun]:
        """Open a nested run; it ends with the ``with`` block, FAILED if an exception leaves it."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Log metrics under our own names (``ndcg@10``)."""

    def log_artifact(self, path: Path, *, folder: str | None = None) -> None:
        """Store a file or a folder with the run."""

    def log_dataset(self, *, name: str, source: str, digest: str) -> None:
        """Record which data the run used."""

    def log_model(self, model_dir: Path, *, verdict: Verdict | None = None) -> Registered | None:
        """Store a fine-tuned model so that it can be loaded and served from the tracker.

        Returns:
            What was registered, where the tracker is to register models.
        """


class SweepTrial(Protocol):
    """A trial of a sweep, as the pipeline sees it."""

    @property
    def name(self) -> str:
        """What the tracker's table shows."""

    @property
    def params(self) -> Mapping[str, object]:
        """The values that were drawn for it."""

    def begin(self, *, run_id: str) -> None:
        """Keep the id of the trial's run in the tracker."""

    def trains_in(self, folder: Path) -> None:
        """Keep where the cache holds the trial's training."""

    def watch(self, step: TrainingStep, *, metric: str, evaluations: int) -> None:
        """Hear a point of the log of a training that scores dev so often; raising ends the training."""


class Tracker(Protocol):
    """Keeps what runs did, or nothing at all."""

    def prepare(self) -> None:
        """Create what is missing; called once before several processes open runs."""

    def run(
        self, name: str, *, params: Mapping[str, object], tags: Mapping[str, str]
    ) -> AbstractContextManager[TrackedRun]:
        """Open a run; it ends with the ``with`` block, FAILED if an exception leaves it.

        ``PrunedError`` is no failure: the run is then tagged as pruned.
        """

    def resume(self, run_id: str) -> AbstractContextManager[TrackedRun]:
        """Open a run that exists; it ends as a new one does."""

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, open or ended."""
