"""Files of runs that MLflow has kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embexp.errors import TrackingError
from embexp.tracking.masking import masked_text
from embexp.tracking.mlflow import MlflowTracker
from embexp.tracking.mlflow_store import quieten, reported, sqlite_file


def fetch(tracker: MlflowTracker, run_id: str, names: Sequence[str], folder: Path) -> None:
    """Copy artifacts of a past run into ``folder``; nothing is created in MLflow.

    Args:
        tracker: Says where MLflow is.
        run_id: The run.
        names: Paths of the artifacts.
        folder: Where to put them; it must exist.

    Raises:
        TrackingError: MLflow cannot be reached, has no such run, or the run lacks an artifact.
    """
    quieten()
    address = masked_text(tracker.address)
    database = sqlite_file(tracker.address)
    if database and not database.exists():
        raise TrackingError(
            f"There is no MLflow database at {address} to look for the run {run_id}: go to the project's "
            "root, or set MLFLOW_TRACKING_URI."
        )
    with reported(tracker.address):
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=tracker.address)
        client.get_run(run_id)
        there = {artifact.path for artifact in client.list_artifacts(run_id)}
        if missing := [name for name in names if name not in there]:
            raise TrackingError(
                f"The run {run_id} of MLflow at {address} has no {missing[0]}: only whole runs and "
                "benchmarks of this version can be compared; run it again, which takes finished stages "
                "from the cache."
            )
        for name in names:
            client.download_artifacts(run_id, name, str(folder))
