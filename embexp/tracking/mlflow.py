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
from embexp.tracking.store import open_experiment, quieten, reported
from embexp.tracking.studies import STUDY, find_study, settle

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, kw_only=True)
class MlflowTracker:
    """Keeps runs in MLflow.

    Args:
        experiment: Name of the MLflow experiment; created where it does not exist.
        root: Folder that holds ``mlflow.db`` and ``mlruns/`` where no ``uri`` is given, so that a bare
            ``mlflow ui`` in it shows every run.
        uri: Address of a tracking server or database (``http://…``, ``postgresql://…``, ``sqlite:///…``);
            None takes the environment's ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in ``root``.
        artifacts: Where a new experiment keeps its files; None is ``mlruns`` in ``root`` for a local
            database, and the server's own choice otherwise.
        log_model: Whether to keep a copy of each tuned model (88 MB for MiniLM).
        register: Name in the model registry under which each tuned model becomes the next version; the
            alias ``champion`` moves to it only when the run ends in WIN. None registers nothing.
        run_name: Name of the run in MLflow's table; None is data set, model and loss.
        parent: Id of the run under which this tracker's runs are nested, as a sweep's trials are; None
            nests them nowhere.

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
    run_name: str | None = None
    parent: str | None = None

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
        nested = {**tags, "parent_run_id": self.parent} if self.parent else tags
        with ending(created(self, client, experiment_id, self.run_name or name, params, nested)) as run:
            yield run

    @contextmanager
    def study(
        self, name: str, *, params: Mapping[str, object], tags: Mapping[str, str]
    ) -> Iterator[MlflowRun]:
        """Open the one run that stands for a sweep's study: the one of that name, or a new one.

        A study that goes on finds its run again, also from another process; it ends as a run does.

        Args:
            name: The study's name, unique in the experiment.
            params: What all trials share; logged when the run is created.
            tags: As for ``run``.

        Raises:
            TrackingError: The server or the database cannot be used.
        """
        client, experiment_id = self._open()
        with reported(self.address):
            run_id = find_study(client, experiment_id, name)
            if run_id is None:
                made = created(self, client, experiment_id, name, params, {**tags, STUDY: name})
                run_id = settle(client, experiment_id, name, made.run_id)
            if "error" in client.get_run(run_id).data.tags:
                client.delete_tag(run_id, "error")
            client.update_run(run_id, status="RUNNING")
        study = MlflowRun(tracker=self, client=client, experiment_id=experiment_id, run_id=run_id)
        with ending(study) as run:
            yield run


def _refuse_folder(uri: str, name: str) -> None:
    if "://" in uri.replace("file://", "") or uri == "databricks":
        return
    folder = Path(uri.removeprefix("file://").removeprefix("file:"))
    raise ConfigError(
        f"{name} is {uri!r}, a plain folder, and MLflow no longer keeps runs in one: name a database, "
        f"for example sqlite:///{(folder.resolve().parent / 'mlflow.db').as_posix()}, or a server (http://…)."
    )
