"""Runs in MLflow: a local database by default, any tracking server by its address."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ConfigError, ModelError, TrackingError
from embexp.progress import without_bars
from embexp.tracking.masking import masked, masked_text
from embexp.tracking.names import TAG_LENGTH, flat_params, mlflow_key, shortened
from embexp.tracking.store import open_experiment, quieten, reported, tracking_address

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

PARAMS_PER_CALL = 100
METRICS_PER_CALL = 1000
DIGEST_LENGTH = 36
MODEL_PACKAGES = ("sentence-transformers", "transformers", "torch")
TAGS = {
    "note": "mlflow.note.content",
    "git_commit": "mlflow.source.git.commit",
    "command": "mlflow.source.name",
    "parent_run_id": "mlflow.parentRunId",
}
"""Our tag names, and the ones by which MLflow's pages show them."""


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

    Raises:
        ConfigError: ``experiment`` is empty, or ``uri`` is a plain folder, which MLflow no longer takes.
    """

    experiment: str = "embexp"
    root: str = "."
    uri: str | None = None
    artifacts: str | None = None
    log_model: bool = True

    def __post_init__(self) -> None:
        if not self.experiment.strip():
            raise ConfigError(
                "tracker.experiment is empty: give it a name, for example tracker.experiment=embexp."
            )
        if self.uri is not None:
            _refuse_folder(self.uri, "tracker.uri")

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
        with _opened(self, client, experiment_id, name, params, tags) as run:
            yield run


@dataclass(frozen=True, kw_only=True)
class MlflowRun:
    """An open run; it knows its id, so any number of them can be open in any threads."""

    tracker: MlflowTracker
    client: MlflowClient
    experiment_id: str
    run_id: str

    @property
    def experiment(self) -> str:
        """The name of the experiment that the run belongs to."""
        return self.tracker.experiment

    @contextmanager
    def child(
        self, name: str, *, params: Mapping[str, object], tags: Mapping[str, str]
    ) -> Iterator[MlflowRun]:
        """Open a run nested under this one; it ends as a run of the tracker does."""
        nested = {**tags, "parent_run_id": self.run_id}
        with _opened(self.tracker, self.client, self.experiment_id, name, params, nested) as run:
            yield run

    def log_metrics(self, metrics: Mapping[str, float], *, step: int | None = None) -> None:
        """Log metrics in one call; ``ndcg@10`` becomes ``ndcg_at_10``, and None values are left out.

        Raises:
            TrackingError: The server or the database cannot be used.
        """
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [
            Metric(mlflow_key(name), float(value), now, step or 0)
            for name, value in metrics.items()
            if value is not None
        ]
        with reported(self.tracker.address):
            for start in range(0, len(entries), METRICS_PER_CALL):
                self.client.log_batch(self.run_id, metrics=entries[start : start + METRICS_PER_CALL])

    def log_artifact(self, path: Path, *, folder: str | None = None) -> None:
        """Store a file, or a folder under its own name, in ``folder`` of the run's artifacts.

        Raises:
            TrackingError: The file does not exist, or the store cannot be used.
        """
        if not path.exists():
            raise TrackingError(f"{path} does not exist and cannot be stored with the run: write it first.")
        with reported(self.tracker.address):
            if path.is_dir():
                self.client.log_artifacts(self.run_id, str(path), "/".join(filter(None, (folder, path.name))))
            else:
                self.client.log_artifact(self.run_id, str(path), folder)

    def log_dataset(self, *, name: str, source: str, digest: str) -> None:
        """Record the data set that the run used; MLflow keeps 36 characters of the digest.

        Raises:
            TrackingError: The server or the database cannot be used.
        """
        from mlflow.entities import Dataset, DatasetInput

        kind = source.split("://", 1)[0] if "://" in source else "local"
        data = Dataset(
            name=name,
            digest=digest[:DIGEST_LENGTH],
            source_type=kind,
            source=json.dumps({"uri": masked_text(source)}, ensure_ascii=False),
        )
        with reported(self.tracker.address):
            self.client.log_inputs(self.run_id, datasets=[DatasetInput(data)])

    def log_model(self, model_dir: Path) -> None:
        """Store a model so that ``mlflow.sentence_transformers.load_model`` and pyfunc can load it.

        Requirements are named from what is installed: MLflow would load the model once more in a
        subprocess to find them out (9 s instead of 0.2 s).

        Raises:
            ModelError: ``model_dir`` holds no model.
            TrackingError: The store cannot be used.
        """
        if not self.tracker.log_model:
            return
        if not (model_dir / "modules.json").is_file():
            raise ModelError(f"{model_dir} holds no sentence-transformers model (no modules.json) to store.")
        import mlflow.sentence_transformers
        from sentence_transformers import SentenceTransformer

        with without_bars(), reported(self.tracker.address), tracking_address(self.tracker.address):
            model = SentenceTransformer(str(model_dir), device="cpu")
            # Created by hand: log_model alone would file it under the process's current experiment.
            entry = self.client.create_logged_model(self.experiment_id, "model", self.run_id)
            mlflow.sentence_transformers.log_model(
                model,
                model_id=entry.model_id,
                run_id=self.run_id,
                pip_requirements=[f"{name}=={version(name)}" for name in MODEL_PACKAGES],
            )


@contextmanager
def _opened(
    tracker: MlflowTracker,
    client: MlflowClient,
    experiment_id: str,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
) -> Iterator[MlflowRun]:
    """Create a run, hand it out, and end it with the status that fits how the block was left."""
    with reported(tracker.address):
        created = client.create_run(experiment_id, run_name=name, tags=_mlflow_tags(tags))
        run = MlflowRun(
            tracker=tracker, client=client, experiment_id=experiment_id, run_id=created.info.run_id
        )
        _log_params(client, run.run_id, params)
    try:
        yield run
    except BaseException as error:
        _end_badly(run, error)
        raise
    with reported(tracker.address):
        client.set_terminated(run.run_id, "FINISHED")


def _end_badly(run: MlflowRun, error: BaseException) -> None:
    """Mark a run as failed or killed; a store that fails too must not hide the first error."""
    reason = shortened(masked_text(f"{type(error).__name__}: {error}"), TAG_LENGTH)
    try:
        with reported(run.tracker.address):
            run.client.set_tag(run.run_id, "error", reason)
            run.client.set_terminated(
                run.run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            )
    except TrackingError as second:
        log.warning("The run could not be marked as failed: %s", second)


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, object]) -> None:
    from mlflow.entities import Param

    safe = masked(params)
    entries = [Param(key, value) for key, value in flat_params(safe).items()]  # type: ignore[arg-type]
    for start in range(0, len(entries), PARAMS_PER_CALL):
        client.log_batch(run_id, params=entries[start : start + PARAMS_PER_CALL])


def _mlflow_tags(tags: Mapping[str, str]) -> dict[str, str]:
    named = {
        TAGS.get(key, mlflow_key(key)): shortened(masked_text(str(value)), TAG_LENGTH)
        for key, value in tags.items()
    }
    return {"mlflow.user": _user(), "mlflow.source.type": "LOCAL", **named}


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def _refuse_folder(uri: str, name: str) -> None:
    if "://" in uri.replace("file://", "") or uri == "databricks":
        return
    folder = Path(uri.removeprefix("file://").removeprefix("file:"))
    raise ConfigError(
        f"{name} is {uri!r}, a plain folder, and MLflow no longer keeps runs in one: name a database, "
        f"for example sqlite:///{(folder.resolve().parent / 'mlflow.db').as_posix()}, or a server (http://…)."
    )
