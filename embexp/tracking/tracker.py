"""What a tracker promises, and the one that keeps nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from embexp.benchmarking.statistics.comparison import Verdict

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

    def log_model(self, model_dir: Path, *, verdict: Verdict | None = None) -> RegisteredModel | None:
        """Store a fine-tuned model so that it can be loaded and served from the tracker.

        Returns:
            What was registered, where the tracker is to register models.
        """


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


@dataclass(frozen=True, kw_only=True)
class NoRun:
    """A run that nobody keeps; its ids are empty."""

    experiment: str = ""
    run_id: str = ""

    @contextmanager
    def child(
        self,
        name: str,  # noqa: ARG002
        *,
        params: Mapping[str, object],  # noqa: ARG002
        tags: Mapping[str, str],  # noqa: ARG002
    ) -> Iterator[NoRun]:
        """Open a nested run that nobody keeps."""
        yield NoRun()

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Drop the metrics."""

    def log_artifact(self, path: Path, *, folder: str | None = None) -> None:
        """Leave the file where it is."""

    def log_dataset(self, *, name: str, source: str, digest: str) -> None:
        """Drop the note on the data."""

    def log_model(self, model_dir: Path, *, verdict: Verdict | None = None) -> RegisteredModel | None:
        """Leave the model where it is."""


@dataclass(frozen=True, kw_only=True)
class NoTracker:
    """Keeps nothing; what a run did is in its output folder alone."""

    def prepare(self) -> None:
        """Do nothing: there is nothing to create."""

    @contextmanager
    def run(
        self,
        name: str,  # noqa: ARG002
        *,
        params: Mapping[str, object],  # noqa: ARG002
        tags: Mapping[str, str],  # noqa: ARG002
    ) -> Iterator[NoRun]:
        """Open a run that nobody keeps."""
        yield NoRun()

    @contextmanager
    def resume(self, run_id: str) -> Iterator[NoRun]:  # noqa: ARG002
        """Open a run that nobody keeps."""
        yield NoRun()

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Drop the tags."""


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A version of a model in the model registry; ``alias`` is empty if none points to it."""

    name: str
    version: int
    alias: str = ""

    @property
    def address(self) -> str:
        """The version's address, as ``mlflow models serve -m`` takes it: ``models:/NAME/VERSION``."""
        return f"models:/{self.name}/{self.version}"
