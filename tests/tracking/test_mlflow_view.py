"""The saved view of an experiment: in MLflow's tags, and on MLflow's own page."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from embexp.reporting.tracked_results import headline_metrics, result_tags
from embexp.tracking.mlflow import MlflowTracker
from embexp.tracking.mlflow_names import mlflow_key
from embexp.tracking.mlflow_view import COLUMNS, SECTIONS, VIEW_TAG, view_tags
from tests.browser import open_browser
from tests.mlflow_server import started
from tests.reporting.full_report import full_report


def test_every_chart_stands_in_a_section() -> None:
    view = json.loads(view_tags()[VIEW_TAG])
    state = json.loads(zlib.decompress(base64.b64decode(view["state"].removeprefix("deflate;"))))
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert len(sections) == len(SECTIONS)
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections


def test_the_view_shows_what_a_run_logs(tmp_path: Path) -> None:
    outcome = full_report().outcome
    drawn = {metric for metrics in SECTIONS.values() for metric in metrics}
    assert drawn <= {mlflow_key(name) for name in headline_metrics(outcome)}
    tags = {*result_tags(outcome, tmp_path), "dataset", "model", "loss"}
    assert {column.split("`")[1] for column in COLUMNS} <= tags


def test_an_experiment_gets_the_view_once_also_if_it_is_older(tracker: MlflowTracker) -> None:
    tracker.prepare()
    with tracker.run("one", params={}, tags={}) as run:
        pass
    client, experiment = run.client, run.experiment_id
    first = client.get_experiment(experiment).tags[VIEW_TAG]
    tracker.prepare()
    assert client.get_experiment(experiment).tags[VIEW_TAG] == first
    client.set_experiment_tag(experiment, VIEW_TAG, "changed by its user")
    tracker.prepare()
    assert client.get_experiment(experiment).tags[VIEW_TAG] == "changed by its user"


def new_page(browser: Any) -> Any:
    """Open a page that shares nothing with others: MLflow saves a page's view some time after it shows it."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(120_000)
    return page


@pytest.mark.slow
def test_mlflow_opens_a_comparison_of_losses_with_the_verdict_first(tmp_path: Path) -> None:
    outcome = full_report().outcome
    with started(tmp_path) as address:
        tracker = MlflowTracker(uri=address)
        for loss in ("mnrl", "gist", "cosent"):
            with tracker.run(f"kettles tiny {loss}", params={"loss": loss}, tags={"loss": loss}) as run:
                run.log_metrics(headline_metrics(outcome))
            tracker.tag(run.run_id, result_tags(outcome, tmp_path))
        with open_browser() as browser:
            view = f"{address}/#/experiments/{run.experiment_id}/runs?viewStateShareKey=embexp"
            page = new_page(browser)
            page.goto(f"{view}&compareRunsMode=CHART")
            page.get_by_text("kettles tiny gist").first.wait_for()
            page.get_by_text("What tuning changed").wait_for()
            shown = page.inner_text("body")
            assert shown.index("What tuning changed") < shown.index("Tuned and untuned")
            page = new_page(browser)
            page.goto(view)
            page.get_by_text("WIN").first.wait_for()
            page = new_page(browser)
            page.goto(f"{address}/#/experiments/{run.experiment_id}/runs/{run.run_id}")
            link = page.get_by_role("link", name="Report")
            assert link.get_attribute("href").endswith(f"/runs/{run.run_id}/artifacts/report.html")
