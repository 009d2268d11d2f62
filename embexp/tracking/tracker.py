"""The contract of a tracker, and the tracker that keeps nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from embexp.benchmarking.statistics.comparison import Verdict


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


class TrackedRun(Protocol):
    """An open run of a tracker.

    Several runs may be open at once, in several threads. Every method may raise ``TrackingError``.
    """

    @property
    def experiment(self) -> str:
        """The experiment's name, empty if nothing is kept."""

    @property
    def run_id(self) -> str:
        """The run's id, which ``Tracker.resume`` and ``Tracker.tag`` accept; empty if nothing is kept."""

    def child(
        self, name: str, *, params: Mapping[str, object], tags: Mapping[str, str]
    ) -> AbstractContextManager[TrackedRun]:
        """Open a run nested under this one, such as a stage or a system; it ends like ``Tracker.run``'s."""

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Log metrics under embexp's names (``tuned/ndcg@10``); values may be NaN."""

    def log_artifact(self, path: Path, *, folder: str | None = None) -> None:
        """Store a file, or a folder with its content, in ``folder`` of the run's artifacts."""

    def log_dataset(self, *, name: str, source: str, digest: str) -> None:
        """Record which data the run used: where they come from, and a hash of their content."""

    def log_model(self, model_dir: Path, *, verdict: Verdict | None = None) -> RegisteredModel | None:
        """Store a fine-tuned model so that it can be loaded and served from the tracker.

        Args:
            model_dir: A folder that sentence-transformers loads.
            verdict: The benchmark's verdict on the model; None if it was not benchmarked.

        Returns:
            The registered version, or None if the tracker registers no models.
        """


class Tracker(Protocol):
    """Keeps runs so that they can be compared later.

    A tracker is built from the group ``tracker`` of the configuration, in every process of a multirun;
    building one must neither connect nor create anything. Parameters, tags and paths may hold secrets: mask
    them (``embexp.tracking.masked``) before they are stored. Every method may raise ``TrackingError``.
    """

    def prepare(self) -> None:
        """Create what is missing, such as a database; called once before several processes open runs."""

    def run(
        self, name: str, *, params: Mapping[str, object], tags: Mapping[str, str]
    ) -> AbstractContextManager[TrackedRun]:
        """Open a run, which ends with the ``with`` block.

        An exception that leaves the block marks the run as failed and is passed on. ``PrunedError`` is no
        failure: it tags the run as pruned.

        Args:
            name: The run's name in the tracker's table.
            params: The parameters, nested or flat.
            tags: ``note`` describes the run, ``git_commit`` and ``command`` say where it comes from, and
                ``parent_run_id`` nests it under another run; other tags are the user's own.
        """

    def resume(self, run_id: str) -> AbstractContextManager[TrackedRun]:
        """Reopen a run that has ended or was cut off; it ends like a new one.

        Raises:
            RunMissingError: The tracker has no such run, or not where it now keeps runs.
        """

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, open or ended.

        In ``note``, which is Markdown, a link to ``artifact:PATH`` leads to a file that the run keeps.

        Raises:
            RunMissingError: The tracker has no such run.
        """


def log_system(
    run: TrackedRun, stage: str, system: str, metrics: Mapping[str, float], **params: object
) -> None:
    """Log a system's metrics in a child run of its own."""
    with run.child(f"{stage} {system}", params={"system": system, **params}, tags={"stage": stage}) as child:
        child.log_metrics(metrics)


@dataclass(frozen=True, kw_only=True)
class _NoRun:
    """A run that is not kept; its ids are empty."""

    experiment: str = ""
    run_id: str = ""

    @contextmanager
    def child(
        self,
        name: str,  # noqa: ARG002
        *,
        params: Mapping[str, object],  # noqa: ARG002
        tags: Mapping[str, str],  # noqa: ARG002
    ) -> Iterator[_NoRun]:
        """Open a nested run that is not kept."""
        yield _NoRun()

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Drop the metrics."""

    def log_artifact(self, path: Path, *, folder: str | None = None) -> None:
        """Leave the file where it is."""

    def log_dataset(self, *, name: str, source: str, digest: str) -> None:
        """Drop the data set."""

    def log_model(self, model_dir: Path, *, verdict: Verdict | None = None) -> RegisteredModel | None:
        """Leave the model where it is."""


@dataclass(frozen=True, kw_only=True)
class NoTracker:
    """Keeps nothing; a run leaves its output folder alone."""

    def prepare(self) -> None:
        """Do nothing: there is nothing to create."""

    @contextmanager
    def run(
        self,
        name: str,  # noqa: ARG002
        *,
        params: Mapping[str, object],  # noqa: ARG002
        tags: Mapping[str, str],  # noqa: ARG002
    ) -> Iterator[TrackedRun]:
        """Open a run that is not kept."""
        yield _NoRun()

    @contextmanager
    def resume(self, run_id: str) -> Iterator[TrackedRun]:  # noqa: ARG002
        """Open a run that is not kept."""
        yield _NoRun()

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Drop the tags."""
