"""Runs in MLflow: a local database by default, any tracking server by its address."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ConfigError
from embexp.tracking.mlflow_run import MlflowRun, created, ending
from embexp.tracking.mlflow_store import open_experiment, quieten, reported
from embexp.tracking.names import mlflow_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, kw_only=True)
class MlflowTracker:
    """Keeps runs in MLflow.

    Args:
        experiment: Name of the MLflow experiment; created where it does not exist.
        root: Folder that holds ``mlflow.db`` and ``mlruns/`` where no ``uri`` is given, so that a bare
            ``mlflow ui`` in it shows every run.
        uri: Address of a tracking server or database (``http://…``, ``postgresql+psycopg2://…``, ``sqlite:///…``);
            None takes the environment's ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in ``root``.
        artifacts: Where a new experiment keeps its files; None is ``mlruns`` in ``root`` for a local
            database, and the server's own choice otherwise.
        log_model: Whether to keep a copy of each tuned model (88 MB for MiniLM).
        register: Name in the model registry under which each tuned model becomes the next version; the
            alias ``champion`` moves to it only when the run ends in WIN. None registers nothing.

    Raises:
        ConfigError: ``experiment`` is empty, ``uri`` is a plain folder, which MLflow no longer takes, or
            ``register`` cannot be done.
    """

    experiment: str = "embexp"
    root: str = "."
    uri: str | None = None
    artifacts: str | None = None
    log_model: bool = True
    register: str | None = None

    def __post_init__(self) -> None:
        if not self.experiment.strip():
            raise ConfigError(
                "tracker.experiment is empty: give it a name, for example tracker.experiment=embexp."
            )
        if self.uri is not None:
            _refuse_folder(self.uri, "tracker.uri")
        if self.register is not None:
            self._check_register(self.register)

    def _check_register(self, name: str) -> None:
        if not name.strip() or set(name) & set("/:@"):
            raise ConfigError(
                f"tracker.register={name!r} is no name for a registered model: use letters, digits, spaces "
                "and -_. (no / : @)."
            )
        if not self.log_model:
            raise ConfigError(
                f"tracker.register={name} needs a stored model and tracker.log_model is false: leave out one."
            )

    @property
    def address(self) -> str:
        """The tracking address in use, as ``mlflow ui --backend-store-uri`` takes it."""
        if self.uri:
            return self.uri
        if given := os.environ.get("MLFLOW_TRACKING_URI"):
            _refuse_folder(given, "The environment's MLFLOW_TRACKING_URI")
            return given
        return f"sqlite:///{(Path(self.root).resolve() / 'mlflow.db').as_posix()}"

    def prepare(self) -> None:
        """Create the database and the experiment where they are missing.

        Call it once before several processes start to log; calls at the same time are safe.

        Raises:
            TrackingError: The server or the database cannot be used.
        """
        self._open()

    def _open(self) -> tuple[MlflowClient, str]:
        quieten()
        with reported(self.address):
            return open_experiment(self.address, self.experiment, self._artifacts())

    def _artifacts(self) -> str | None:
        if self.artifacts and "://" in self.artifacts:
            return self.artifacts
        if self.artifacts or self.address.startswith("sqlite:"):
            folder = re.sub(r"[^\w.\-]+", "_", self.experiment)
            return (Path(self.artifacts or Path(self.root) / "mlruns").resolve() / folder).as_uri()
        return None

    @contextmanager
    def run(self, name: str, *, params: Mapping[str, object], tags: Mapping[str, str]) -> Iterator[MlflowRun]:
        """Open a run: FINISHED when the block ends, FAILED on an exception, KILLED on Ctrl-C.

        Args:
            name: What MLflow's table shows.
            params: Nested or flat parameters; secrets are masked.
            tags: ``note``, ``git_commit``, ``command`` and ``parent_run_id`` appear where MLflow shows
                such things; all others stand under their own names.

        Raises:
            TrackingError: The server or the database cannot be used.
        """
        client, experiment_id = self._open()
        with ending(created(self, client, experiment_id, name, params, tags)) as run:
            yield run

    @contextmanager
    def resume(self, run_id: str) -> Iterator[MlflowRun]:
        """Open a run that exists, such as a sweep's that goes on; it ends as a new one does.

        Raises:
            TrackingError: The server or the database cannot be used, or has no such run.
        """
        client, experiment_id = self._open()
        with reported(self.address):
            if "error" in client.get_run(run_id).data.tags:
                client.delete_tag(run_id, "error")
            client.update_run(run_id, status="RUNNING")
        run = MlflowRun(tracker=self, client=client, experiment_id=experiment_id, run_id=run_id)
        with ending(run):
            yield run

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, open or ended; secrets are masked.

        Raises:
            TrackingError: The server or the database cannot be used.
        """
        client, _ = self._open()
        with reported(self.address):
            for key, value in mlflow_tags(tags).items():
                client.set_tag(run_id, key, value)


def _refuse_folder(uri: str, name: str) -> None:
    if "://" in uri.replace("file://", "") or uri == "databricks":
        return
    folder = Path(uri.removeprefix("file://").removeprefix("file:"))
    raise ConfigError(
        f"{name} is {uri!r}, a plain folder, and MLflow no longer keeps runs in one: name a database, "
        f"for example sqlite:///{(folder.resolve().parent / 'mlflow.db').as_posix()}, or a server (http://…)."
    )
