"""Runs in MLflow: a local database by default, or any tracking server or database by its address."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ConfigError, PrunedError, TrackingError
from embexp.masking import masked, masked_text
from embexp.tracking.mlflow_names import TAG_LENGTH, flat_params, mlflow_key, mlflow_tags, shortened
from embexp.tracking.mlflow_registry import register, store_model
from embexp.tracking.mlflow_store import (
    configure_environment,
    open_experiment,
    sqlite_file,
    store_errors,
    tracking_address,
)
from embexp.tracking.tracker import RegisteredModel

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from embexp.benchmarking.statistics.comparison import Verdict

log = logging.getLogger(__name__)

PARAMS_PER_CALL = 100
METRICS_PER_CALL = 1000
DIGEST_LENGTH = 36


@dataclass(frozen=True, kw_only=True)
class MlflowTracker:
    """Keeps runs in MLflow.

    Args:
        experiment: Name of the MLflow experiment; created if it does not exist.
        root: Folder that holds ``mlflow.db`` and ``mlruns/`` if there is no ``uri``, so that a bare
            ``mlflow ui`` in it shows every run.
        uri: Address of a tracking server or database (``http://…``, ``postgresql+psycopg2://…``,
            ``sqlite:///…``); None takes the environment's ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` in
            ``root``.
        artifacts: Where a new experiment keeps its files; None is ``mlruns`` in ``root`` for a local
            database, and the server's own choice otherwise.
        log_model: Whether to keep a copy of each tuned model (88 MB for MiniLM).
        register: Name in the model registry under which each tuned model becomes the next version; the
            alias ``champion`` moves to it only when the run ends in WIN. None registers nothing.

    Raises:
        ConfigError: ``experiment`` is empty, ``uri`` is a plain folder, which MLflow no longer supports, or
            ``register`` is not a valid name or conflicts with ``log_model``.
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
        """Create the database and the experiment if they are missing.

        Call it once before several processes start to log; concurrent calls are safe.

        Raises:
            TrackingError: The server or the database cannot be used.
        """
        self._open()

    def _open(self) -> tuple[MlflowClient, str]:
        configure_environment()
        with store_errors(self.address):
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
            name: The run's name in MLflow's table.
            params: Nested or flat parameters; secrets are masked.
            tags: ``note``, ``git_commit``, ``command`` and ``parent_run_id`` appear where MLflow shows
                such things; all others appear under their own names.

        Raises:
            TrackingError: The server or the database cannot be used.
        """
        client, experiment_id = self._open()
        with _ending(_create_run(self, client, experiment_id, name, params, tags)) as run:
            yield run

    @contextmanager
    def resume(self, run_id: str) -> Iterator[MlflowRun]:
        """Reopen a run, such as that of a sweep that is continued; it ends like a new one.

        Raises:
            TrackingError: The server or the database cannot be used, or has no such run.
        """
        client, experiment_id = self._open()
        with store_errors(self.address):
            if "error" in client.get_run(run_id).data.tags:
                client.delete_tag(run_id, "error")
            client.update_run(run_id, status="RUNNING")
        run = MlflowRun(tracker=self, client=client, experiment_id=experiment_id, run_id=run_id)
        with _ending(run):
            yield run

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, open or ended; secrets are masked.

        Raises:
            TrackingError: The server or the database cannot be used.
        """
        client, _ = self._open()
        with store_errors(self.address):
            for key, value in mlflow_tags(tags).items():
                client.set_tag(run_id, key, value)

    def download(self, run_id: str, names: Sequence[str], folder: Path) -> None:
        """Copy artifacts of a past run into ``folder``; nothing is created in MLflow.

        Args:
            run_id: The run.
            names: Paths of the artifacts.
            folder: Where to put them; it must exist.

        Raises:
            TrackingError: MLflow cannot be reached, has no such run, or the run lacks an artifact.
        """
        configure_environment()
        address = masked_text(self.address)
        database = sqlite_file(self.address)
        if database and not database.exists():
            raise TrackingError(
                f"There is no MLflow database at {address} to look for the run {run_id}: go to the project's "
                "root, or set MLFLOW_TRACKING_URI."
            )
        with store_errors(self.address):
            from mlflow import MlflowClient

            client = MlflowClient(tracking_uri=self.address)
            client.get_run(run_id)
            available = {artifact.path for artifact in client.list_artifacts(run_id)}
            if missing := [name for name in names if name not in available]:
                raise TrackingError(
                    f"The run {run_id} of MLflow at {address} has no {missing[0]}: only whole runs and "
                    "benchmarks of this version can be compared; run it again, which takes finished stages "
                    "from the cache."
                )
            for name in names:
                client.download_artifacts(run_id, name, str(folder))


def _refuse_folder(uri: str, name: str) -> None:
    if "://" in uri.replace("file://", "") or uri == "databricks":
        return
    folder = Path(uri.removeprefix("file://").removeprefix("file:"))
    raise ConfigError(
        f"{name} is {uri!r}, a plain folder, and MLflow no longer keeps runs in one: name a database, "
        f"for example sqlite:///{(folder.resolve().parent / 'mlflow.db').as_posix()}, or a server (http://…)."
    )


@dataclass(frozen=True, kw_only=True)
class MlflowRun:
    """An open run; it knows its id, so any number of runs can be open in any threads."""

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
        """Open a run nested under this one; it ends like a run of the tracker."""
        nested = {**tags, "parent_run_id": self.run_id}
        with _ending(_create_run(self.tracker, self.client, self.experiment_id, name, params, nested)) as run:
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
        with store_errors(self.tracker.address):
            for start in range(0, len(entries), METRICS_PER_CALL):
                self.client.log_batch(self.run_id, metrics=entries[start : start + METRICS_PER_CALL])

    def log_artifact(self, path: Path, *, folder: str | None = None) -> None:
        """Store a file, or a folder under its own name, in ``folder`` of the run's artifacts.

        Raises:
            TrackingError: The file does not exist, or the store cannot be used.
        """
        if not path.exists():
            raise TrackingError(f"{path} does not exist and cannot be stored with the run: write it first.")
        with store_errors(self.tracker.address):
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
        with store_errors(self.tracker.address):
            self.client.log_inputs(self.run_id, datasets=[DatasetInput(data)])

    def log_model(self, model_dir: Path, *, verdict: Verdict | None = None) -> RegisteredModel | None:
        """Store a model so that ``mlflow.sentence_transformers.load_model`` and pyfunc can load it.

        Args:
            model_dir: A folder that sentence-transformers loads.
            verdict: The benchmark's verdict, for the registry; None if there was no benchmark.

        Returns:
            The registered version; None without ``tracker.register``.

        Raises:
            ModelError: ``model_dir`` holds no model.
            TrackingError: The store cannot be used.
        """
        if not self.tracker.log_model:
            return None
        with store_errors(self.tracker.address), tracking_address(self.tracker.address):
            model_id = store_model(self.client, self.experiment_id, self.run_id, model_dir)
            if self.tracker.register is None:
                return None
            return register(
                self.client, self.tracker.register, model_id=model_id, run_id=self.run_id, verdict=verdict
            )


def _create_run(
    tracker: MlflowTracker,
    client: MlflowClient,
    experiment_id: str,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
) -> MlflowRun:
    """Create a run with its parameters and tags."""
    from mlflow.entities import Param

    origin = {"mlflow.user": _user(), "mlflow.source.type": "LOCAL"}
    safe = masked(params)
    entries = [Param(key, value) for key, value in flat_params(safe).items()]  # type: ignore[arg-type]
    with store_errors(tracker.address):
        info = client.create_run(experiment_id, run_name=name, tags={**origin, **mlflow_tags(tags)}).info
        for start in range(0, len(entries), PARAMS_PER_CALL):
            client.log_batch(info.run_id, params=entries[start : start + PARAMS_PER_CALL])
    return MlflowRun(tracker=tracker, client=client, experiment_id=experiment_id, run_id=info.run_id)


def _user() -> str:
    """Return the user's name, or ``unknown`` if the system does not say."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


@contextmanager
def _ending(run: MlflowRun) -> Iterator[MlflowRun]:
    """End a run with the status that fits how the block is left; a pruned run is FINISHED."""
    try:
        yield run
    except PrunedError as pruned:
        with store_errors(run.tracker.address):
            run.client.set_tag(run.run_id, "pruned", "true")
            run.client.set_tag(run.run_id, "mlflow.note.content", masked_text(f"Pruned: {pruned}"))
            run.client.set_terminated(run.run_id, "FINISHED")
        raise
    except BaseException as error:
        _mark_failed(run, error)
        raise
    with store_errors(run.tracker.address):
        run.client.set_terminated(run.run_id, "FINISHED")


def _mark_failed(run: MlflowRun, error: BaseException) -> None:
    """Mark a run as failed or killed; a store that fails, too, must not hide the first error."""
    reason = shortened(masked_text(f"{type(error).__name__}: {error}"), TAG_LENGTH)
    status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
    try:
        with store_errors(run.tracker.address):
            run.client.set_tag(run.run_id, "error", reason)
            run.client.set_terminated(run.run_id, status)
    except TrackingError as second:
        log.warning("The run could not be marked as %s: %s", status.lower(), second)
