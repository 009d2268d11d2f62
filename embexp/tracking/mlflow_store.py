"""MLflow's server or database: reached quickly or reported as unreachable, and created exactly once."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.errors import RunMissingError, TrackingError
from embexp.masking import masked_text
from embexp.storage.files import disk_problem
from embexp.tracking.mlflow_names import shortened
from embexp.tracking.mlflow_server import SECONDS, reach_server
from embexp.tracking.mlflow_view import VIEW_TAG, view_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

log = logging.getLogger(__name__)


ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # With a server, each run that ends would print two lines of addresses between embexp's own.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that stops answering is reported after about 15 seconds, not after minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
_FLUENT = threading.Lock()
"""MLflow's log_model reads the process-wide tracking address; one thread at a time may change it."""
TIME_LIMITS = {"sqlite": "timeout", "postgresql": "connect_timeout", "mysql": "connect_timeout"}


@dataclass(frozen=True)
class OpenExperiment:
    """An experiment that runs can be logged to."""

    client: MlflowClient
    experiment_id: str
    name: str


def open_experiment(address: str, name: str, artifacts: str | None) -> OpenExperiment:
    """Return a client with an experiment; create the database and the experiment where they are missing.

    Raises:
        TrackingError: No server answers, a database driver is missing, or the experiment was deleted.
        MlflowException, SQLAlchemyError, OSError: The store cannot be used.
    """
    database = sqlite_file(address)
    with _created_once(database) if database else nullcontext():
        _reach(address)
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=address)
        return OpenExperiment(client, _experiment_id(client, name, artifacts), name)


def sqlite_file(address: str) -> Path | None:
    """Return the file of a ``sqlite:///…`` address; None for every other kind."""
    from sqlalchemy.engine import make_url

    if not address.startswith("sqlite:"):
        return None
    name = make_url(address).database
    return Path(name).resolve() if name and name != ":memory:" else None


@contextmanager
def _created_once(database: Path) -> Iterator[None]:
    """Let one process at a time create the file, and start over if a creation was interrupted.

    Several processes that create the tables of one new file at once corrupt it, and so does a Ctrl-C half
    way through: the tables that exist then stop MLflow from creating the others.
    """
    from filelock import FileLock

    database.parent.mkdir(parents=True, exist_ok=True)
    unfinished = database.with_name(f"{database.name}.creating")
    with FileLock(database.with_name(f"{database.name}.lock")):
        if unfinished.exists():
            log.info("Creating %s again: the process that started to create it was interrupted", database)
            database.unlink(missing_ok=True)
        if database.exists():
            yield
            return
        unfinished.touch()
        yield
        unfinished.unlink()


def _reach(address: str) -> None:
    """Connect once with a short time limit: MLflow itself retries for up to an hour."""
    if address.startswith(("http://", "https://")):
        reach_server(address)
    elif "://" in address and not address.startswith("databricks"):
        _connect(address)


def _connect(address: str) -> None:
    import sqlalchemy
    from sqlalchemy.pool import NullPool

    dialect = address.split(":", 1)[0].split("+", 1)[0]
    limit = {TIME_LIMITS[dialect]: SECONDS} if dialect in TIME_LIMITS else {}
    try:
        engine = sqlalchemy.create_engine(address, poolclass=NullPool, connect_args=limit)
    except ImportError as error:
        raise TrackingError(
            f"tracker.uri names a {dialect} database, whose driver is not installed ({error}): "
            f"install the package that holds {error.name}, or use another tracker.uri."
        ) from error
    query = "SELECT count(*) FROM sqlite_master" if dialect == "sqlite" else "SELECT 1"
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(query))


def _experiment_id(client: MlflowClient, name: str, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifacts, tags=view_tags()))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        where = (
            f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
            if experiment
            else "the MLflow page"
        )
        raise TrackingError(
            f"tracker.experiment={name} has been deleted in MLflow: bring it back with `{where}`, "
            "or choose another name."
        )
    if VIEW_TAG not in experiment.tags:
        for key, value in view_tags().items():
            retry_on_conflict(partial(client.set_experiment_tag, experiment.experiment_id, key, value))
    return str(experiment.experiment_id)


def stored_run(client: MlflowClient, run_id: str) -> Run:
    """Return a run that can be logged to.

    Raises:
        RunMissingError: There is no such run, or it has been deleted.
        MlflowException: The store cannot be used.
    """
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise RunMissingError(f"The run {run_id} was not found in MLflow.") from error
    if run.info.lifecycle_stage == "deleted":
        raise RunMissingError(f"The run {run_id} has been deleted in MLflow.")
    return run


def retry_on_conflict(call: Callable[[], object]) -> None:
    """Call MLflow to insert what another process may insert at the same moment, and again on a conflict.

    MLflow looks for a data set, a tag or an alias and inserts it in two steps: of two jobs that do so at
    once, one fails on the primary key. When it looks again, it finds what the other inserted.

    Raises:
        MlflowException, SQLAlchemyError, OSError: The store cannot be used.
    """
    from mlflow.exceptions import MlflowException
    from tenacity import Retrying, retry_if_exception, stop_after_attempt

    def refused(error: BaseException) -> bool:
        return isinstance(error, MlflowException) and error.error_code == "BAD_REQUEST"

    Retrying(retry=retry_if_exception(refused), stop=stop_after_attempt(3), reraise=True)(call)


def configure_environment() -> None:
    """Set MLflow's environment variables before its import; those that the user has set are kept."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    # Errors are reported by store_errors; MLflow would log them once more, with a traceback.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


@contextmanager
def store_errors(address: str) -> Iterator[None]:
    """Turn the errors of MLflow, the libraries below it and its disk into one sentence.

    Raises:
        EmbexpError: The disk of MLflow's files is full, or they may not be written.
        TrackingError: MLflow cannot be used for another reason.
    """
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, requests.RequestException, OSError) as error:
        database = sqlite_file(address)
        if (database or isinstance(error, OSError)) and (problem := disk_problem(error, database)):
            raise problem from error
        # SQLAlchemy adds the statement and a link; the driver's own message is enough.
        words = masked_text(" ".join(str(getattr(error, "orig", None) or error).split()))
        reason = shortened(words, 400).rstrip(".")
        raise TrackingError(
            f"MLflow at {masked_text(address)} cannot be used: {reason}. Check that it runs and that nothing "
            "else locks it, set tracker.uri to another address, or go without it (tracker=none)."
        ) from error


@contextmanager
def tracking_address(address: str) -> Iterator[None]:
    """Set MLflow's process-wide address inside the block, and restore the previous one."""
    import mlflow

    with _FLUENT:
        before: Any = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
        environment = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(address)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(before)
            if environment is None:
                os.environ.pop("MLFLOW_TRACKING_URI", None)
            else:
                os.environ["MLFLOW_TRACKING_URI"] = environment
