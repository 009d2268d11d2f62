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

from embexp.errors import ConfigError, PrunedError, RunMissingError, TrackingError
from embexp.masking import masked, masked_text
from embexp.storage.sqlite import sqlite_address
from embexp.tracking.mlflow_names import (
    TAG_LENGTH,
    flat_params,
    mlflow_key,
    mlflow_tags,
    shortened,
    with_artifact_links,
)
from embexp.tracking.mlflow_registry import register, store_model
from embexp.tracking.mlflow_store import (
    OpenExperiment,
    configure_environment,
    open_experiment,
    retry_on_conflict,
    sqlite_file,
    store_errors,
    stored_run,
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
RUN_VARIABLE = "MLFLOW_RUN_ID"
"""MLflow's variable for a run that exists already, to log into."""


@dataclass(frozen=True, kw_only=True)
class MlflowTracker:
    """Keeps runs in MLflow.

    Args:
        experiment: Name of the MLflow experiment; created if it does not exist. None takes the environment's
            ``MLFLOW_EXPERIMENT_NAME``, else ``embexp``.
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

    experiment: str | None = None
    root: str = "."
    uri: str | None = None
    artifacts: str | None = None
    log_model: bool = True
    register: str | None = None

    def __post_init__(self) -> None:
        if self.experiment is not None and not self.experiment.strip():
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
        return sqlite_address(Path(self.root).expanduser().resolve() / "mlflow.db")

    @property
    def experiment_name(self) -> str:
        """The experiment in use: ``experiment``, else the environment's, else ``embexp``."""
        return self.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME", "").strip() or "embexp"

    def prepare(self) -> None:
        """Create the database and the experiment if they are missing.

        Call it once before several processes start to log; concurrent calls are safe.

        Raises:
            ConfigError: The environment names one run to log to.
            TrackingError: The server or the database cannot be used.
        """
        if os.environ.get(RUN_VARIABLE):
            raise ConfigError(
                f"{RUN_VARIABLE} names one run to log to, and -m opens several: unset it, or run without -m."
            )
        self._open()

    def _open(self) -> OpenExperiment:
        configure_environment()
        self._check_experiment_id()
        with store_errors(self.address):
            return open_experiment(self.address, self.experiment_name, self._artifacts())

    def _check_experiment_id(self) -> None:
        """Refuse an experiment that the environment gives by its id alone, which creates no experiment."""
        given = os.environ.get("MLFLOW_EXPERIMENT_ID")
        if given and not self.experiment and not os.environ.get("MLFLOW_EXPERIMENT_NAME"):
            raise ConfigError(
                f"MLFLOW_EXPERIMENT_ID is {given}, and embexp takes experiments by name: set "
                "MLFLOW_EXPERIMENT_NAME or tracker.experiment instead."
            )

    def _artifacts(self) -> str | None:
        if self.artifacts and "://" in self.artifacts:
            return self.artifacts
        if self.artifacts or self.address.startswith("sqlite:"):
            folder = re.sub(r"[^\w.\-]+", "_", self.experiment_name)
            return (
                Path(self.artifacts or Path(self.root) / "mlruns").expanduser().resolve() / folder
            ).as_uri()
        return None

    @contextmanager
    def run(self, name: str, *, params: Mapping[str, object], tags: Mapping[str, str]) -> Iterator[MlflowRun]:
        """Open a run: FINISHED when the block ends, FAILED on an exception, KILLED on Ctrl-C.

        Where the environment's ``MLFLOW_RUN_ID`` names a run, as in an MLflow project, that one is used
        once, as MLflow's own ``start_run`` does.

        Args:
            name: The run's name in MLflow's table.
            params: Nested or flat parameters; secrets are masked.
            tags: ``note``, ``git_commit``, ``command`` and ``parent_run_id`` appear where MLflow shows
                such things; all others appear under their own names.

        Raises:
            TrackingError: The server or the database cannot be used.
        """
        opened = self._open()
        given = os.environ.get(RUN_VARIABLE, "").strip()
        if given and "parent_run_id" not in tags:
            run = _take_run(self, opened, given, params, tags)
        else:
            run = _create_run(self, opened, name, params, tags)
        with _ending(run):
            yield run

    @contextmanager
    def resume(self, run_id: str) -> Iterator[MlflowRun]:
        """Reopen a run, such as that of a sweep that is continued; it ends like a new one.

        Raises:
            RunMissingError: There is no such run, it has been deleted, or it is in another experiment.
            TrackingError: The server or the database cannot be used.
        """
        opened = self._open()
        with store_errors(self.address):
            stored = stored_run(opened.client, run_id)
            if stored.info.experiment_id != opened.experiment_id:
                raise RunMissingError(f"The run {run_id} is in another experiment than {opened.name}.")
            if "error" in stored.data.tags:
                opened.client.delete_tag(run_id, "error")
            opened.client.update_run(run_id, status="RUNNING")
        with _ending(MlflowRun(tracker=self, opened=opened, run_id=run_id)) as run:
            yield run

    def tag(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, open or ended; secrets are masked.

        Raises:
            RunMissingError: There is no such run, or it has been deleted.
            TrackingError: The server or the database cannot be used.
        """
        client = self._open().client
        with store_errors(self.address):
            info = stored_run(client, run_id).info
            for key, value in mlflow_tags(with_artifact_links(tags, info)).items():
                client.set_tag(run_id, key, value)

    def delete(self, run_id: str) -> None:
        """Delete a run with the runs nested under it; ``mlflow gc`` then removes their files.

        Raises:
            TrackingError: The server or the database cannot be used.
        """
        configure_environment()
        with store_errors(self.address):
            from mlflow import MlflowClient

            client = MlflowClient(tracking_uri=self.address)
            try:
                experiment_id = stored_run(client, run_id).info.experiment_id
            except RunMissingError:
                return  # deleted before
            nested = [run_id]
            for parent in nested:
                query = f"tags.`mlflow.parentRunId` = '{parent}'"
                found = client.search_runs([experiment_id], filter_string=query, max_results=1000)
                nested += [run.info.run_id for run in found]
            for each in reversed(nested):
                client.delete_run(each)

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
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", uri):
        raise ConfigError(f"{name} is {uri!r}, which lacks a scheme: write http://{uri} or https://{uri}.")
    folder = Path(uri.removeprefix("file://").removeprefix("file:"))
    raise ConfigError(
        f"{name} is {uri!r}, a plain folder, and MLflow no longer keeps runs in one: name a database, "
        f"for example sqlite:///{(folder.resolve().parent / 'mlflow.db').as_posix()}, or a server (http://…)."
    )


@dataclass(frozen=True, kw_only=True)
class MlflowRun:
    """An open run; it knows its id, so any number of runs can be open in any threads."""

    tracker: MlflowTracker
    opened: OpenExperiment
    run_id: str

    @property
    def client(self) -> MlflowClient:
        """MLflow's client for the store that holds the run."""
        return self.opened.client

    @property
    def experiment(self) -> str:
        """The name of the experiment that the run belongs to."""
        return self.opened.name

    @property
    def experiment_id(self) -> str:
        """The id of that experiment."""
        return self.opened.experiment_id

    @contextmanager
    def child(
        self, name: str, *, params: Mapping[str, object], tags: Mapping[str, str]
    ) -> Iterator[MlflowRun]:
        """Open a run nested under this one; it ends like a run of the tracker."""
        nested = {**tags, "parent_run_id": self.run_id}
        with _ending(_create_run(self.tracker, self.opened, name, params, nested)) as run:
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
            retry_on_conflict(lambda: self.client.log_inputs(self.run_id, datasets=[DatasetInput(data)]))

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
    opened: OpenExperiment,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
) -> MlflowRun:
    """Create a run with its parameters and tags."""
    origin = {"mlflow.user": _user(), "mlflow.source.type": "LOCAL"}
    with store_errors(tracker.address):
        own_tags = {**origin, **mlflow_tags(tags)}
        info = opened.client.create_run(opened.experiment_id, run_name=masked_text(name), tags=own_tags).info
        _log_params(opened.client, info.run_id, flat_params(masked(params)))  # type: ignore[arg-type]
    return MlflowRun(tracker=tracker, opened=opened, run_id=info.run_id)


def _take_run(
    tracker: MlflowTracker,
    opened: OpenExperiment,
    run_id: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
) -> MlflowRun:
    """Log into the run that the environment names, and forget the variable: it is meant for one run.

    Raises:
        RunMissingError: There is no such run.
        TrackingError: It is in another experiment, or has other parameters.
    """
    wanted = flat_params(masked(params))  # type: ignore[arg-type]
    with store_errors(tracker.address):
        try:
            stored = stored_run(opened.client, run_id)
        except RunMissingError as error:
            raise RunMissingError(f"{error} {RUN_VARIABLE} names it: unset that, or correct it.") from error
        if stored.info.experiment_id != opened.experiment_id:
            other = opened.client.get_experiment(stored.info.experiment_id).name
            raise TrackingError(
                f"{RUN_VARIABLE} names a run of the experiment {other!r}, not of {opened.name!r}: set "
                f"tracker.experiment={other}, or unset {RUN_VARIABLE}."
            )
        changed = [key for key in wanted if stored.data.params.get(key, wanted[key]) != wanted[key]]
        if changed:
            key = changed[0]
            raise TrackingError(
                f"{RUN_VARIABLE} names a run with {key}={stored.data.params[key]}, and this one has "
                f"{key}={wanted[key]}: unset it to open a run of its own."
            )
        opened.client.update_run(run_id, status="RUNNING")
        for key, value in mlflow_tags(tags).items():
            opened.client.set_tag(run_id, key, value)
        _log_params(opened.client, run_id, wanted)
    os.environ.pop(RUN_VARIABLE)
    return MlflowRun(tracker=tracker, opened=opened, run_id=run_id)


def _log_params(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    entries = [Param(key, value) for key, value in params.items()]
    for start in range(0, len(entries), PARAMS_PER_CALL):
        client.log_batch(run_id, params=entries[start : start + PARAMS_PER_CALL])


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
