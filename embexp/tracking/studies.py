"""A sweep in MLflow: one run for the study, found again by its name, and its best trials marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from embexp.errors import TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

STUDY = "study"
"""The tag that holds a study's name, on the study's own run alone."""
BEST = "best"


def find_study(client: MlflowClient, experiment_id: str, study: str) -> str | None:
    """Return the id of the study's oldest run that was not deleted, or None."""
    found = client.search_runs(
        [experiment_id],
        filter_string=f"tags.{STUDY} = {_quoted(study)}",
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
        max_results=1,
    )
    return str(found[0].info.run_id) if found else None


def settle(client: MlflowClient, experiment_id: str, study: str, created: str) -> str:
    """Return the run that stands for the study, after ``created`` was made for it.

    Two sweepers that begin one study at once create a run each; all of them keep the oldest.
    """
    first = find_study(client, experiment_id, study) or created
    if first != created:
        client.delete_run(created)
    return first


def mark_best(client: MlflowClient, experiment_id: str, study_run: str, best: Sequence[str]) -> None:
    """Tag the runs in ``best`` with ``best=true`` and take the tag from the study's other trials."""
    marked = client.search_runs(
        [experiment_id],
        filter_string=f"tags.`mlflow.parentRunId` = '{study_run}' and tags.{BEST} = 'true'",
    )
    for run in marked:
        if run.info.run_id not in best:
            client.delete_tag(run.info.run_id, BEST)
    for run_id in best:
        client.set_tag(run_id, BEST, "true")


def _quoted(name: str) -> str:
    for quote in ("'", '"'):
        if quote not in name:
            return f"{quote}{name}{quote}"
    raise TrackingError(f"The study's name {name} holds both kinds of quotation marks: name it otherwise.")
