"""The tracker for people who want none: it takes every call and keeps nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embexp.types import Registered, Verdict


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

    def log_model(self, model_dir: Path, *, verdict: Verdict | None = None) -> Registered | None:
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
