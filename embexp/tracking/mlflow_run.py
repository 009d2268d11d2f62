"""An open run in MLflow: what is logged to it, and the status with which it ends."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.benchmarking.statistics.comparison import Verdict
from embexp.errors import PrunedError, TrackingError
from embexp.tracking.masking import masked, masked_text
from embexp.tracking.mlflow_registry import check_model, register, store_model
from embexp.tracking.mlflow_store import reported, tracking_address
from embexp.tracking.names import TAG_LENGTH, flat_params, mlflow_key, mlflow_tags, shortened, user
from embexp.tracking.tracker import RegisteredModel

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from embexp.tracking.mlflow import MlflowTracker

log = logging.getLogger(__name__)


PARAMS_PER_CALL = 100
METRICS_PER_CALL = 1000
DIGEST_LENGTH = 36


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
        with ending(created(self.tracker, self.client, self.experiment_id, name, params, nested)) as run:
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

    def log_model(self, model_dir: Path, *, verdict: Verdict | None = None) -> RegisteredModel | None:
        """Store a model so that ``mlflow.sentence_transformers.load_model`` and pyfunc can load it.

        Args:
            model_dir: A folder that sentence-transformers loads.
            verdict: What the benchmark found, for the registry; None where there was none.

        Returns:
            What was registered; None where ``tracker.register`` names nothing.

        Raises:
            ModelError: ``model_dir`` holds no model.
            TrackingError: The store cannot be used.
        """
        if not self.tracker.log_model:
            return None
        check_model(model_dir)
        with reported(self.tracker.address), tracking_address(self.tracker.address):
            model_id = store_model(self.client, self.experiment_id, self.run_id, model_dir)
            if self.tracker.register is None:
                return None
            return register(
                self.client, self.tracker.register, model_id=model_id, run_id=self.run_id, verdict=verdict
            )


def created(
    tracker: MlflowTracker,
    client: MlflowClient,
    experiment_id: str,
    name: str,
    params: Mapping[str, object],
    tags: Mapping[str, str],
) -> MlflowRun:
    """Create a run with its parameters and tags."""
    whose = {"mlflow.user": user(), "mlflow.source.type": "LOCAL"}
    with reported(tracker.address):
        info = client.create_run(experiment_id, run_name=name, tags={**whose, **mlflow_tags(tags)}).info
        run_id = info.run_id
        _log_params(client, run_id, params)
    return MlflowRun(tracker=tracker, client=client, experiment_id=experiment_id, run_id=run_id)


@contextmanager
def ending(run: MlflowRun) -> Iterator[MlflowRun]:
    """Hand the run out, and end it with the status that fits how the block is left; pruned is FINISHED."""
    try:
        yield run
    except PrunedError as pruned:
        with reported(run.tracker.address):
            run.client.set_tag(run.run_id, "pruned", "true")
            run.client.set_tag(run.run_id, "mlflow.note.content", masked_text(f"Pruned: {pruned}"))
            run.client.set_terminated(run.run_id, "FINISHED")
        raise
    except BaseException as error:
        _end_badly(run, error)
        raise
    with reported(run.tracker.address):
        run.client.set_terminated(run.run_id, "FINISHED")


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
