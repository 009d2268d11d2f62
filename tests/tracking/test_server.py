"""A tracking server that other machines would use, and what its pages show of two runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from embexp.errors import TrackingError
from embexp.tracking.mlflow import MlflowTracker
from tests import mlflow_server

pytestmark = pytest.mark.slow
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server.started(tmp_path_factory.mktemp("server")) as address:
        yield address


def test_runs_and_files_reach_a_server(address: str, tmp_path: Path) -> None:
    _logs_the_same(MlflowTracker(uri=address), tmp_path)


def test_a_server_on_postgresql_works_the_same(postgres: str, tmp_path: Path) -> None:
    with mlflow_server.started(tmp_path, backend=postgres) as address:
        _logs_the_same(MlflowTracker(uri=address), tmp_path)


def test_a_server_behind_an_own_authority_works_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow_server.started(tmp_path, authority=trustme.CA()) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(tmp_path / "ca.pem"))
        _logs_the_same(MlflowTracker(uri=address), tmp_path)
        monkeypatch.delenv("MLFLOW_TRACKING_SERVER_CERT_PATH")
        with pytest.raises(TrackingError, match="no certificate that is trusted here"):
            MlflowTracker(uri=address).prepare()


def _logs_the_same(tracker: MlflowTracker, folder: Path) -> None:
    from embexp.models.tiny import TinyModel

    tracker.prepare()
    (folder / "report.md").write_text("fine")
    TinyModel(name="tiny", seed=0, dimension=32, layers=1).load().save_pretrained(str(folder / "model"))
    registering = MlflowTracker(uri=tracker.address, register="docs")
    with registering.run("sweep", params={"model": "tiny"}, tags={}) as parent:
        with parent.child("finetune", params={"lr": 0.1}, tags={}) as child:
            child.log_metrics({"ndcg@10": 0.25}, step=1)
        parent.log_artifact(folder / "report.md")
        registered = parent.log_model(folder / "model", verdict="WIN")
    assert registered is not None
    assert (registered.name, registered.version, registered.alias) == ("docs", 1, "champion")
    stored: Any = parent.client.get_run(child.run_id)
    assert stored.info.status == "FINISHED"
    assert stored.data.metrics == {"ndcg_at_10": 0.25}
    assert stored.data.tags["mlflow.parentRunId"] == parent.run_id
    copy = Path(parent.client.download_artifacts(parent.run_id, "report.md", str(folder)))
    assert copy.read_text() == "fine"


def test_the_compare_page_shows_parameters_and_metrics(address: str) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    tracker = MlflowTracker(uri=address, experiment="compare")
    runs = []
    for rate, score in ((2e-5, 0.61), (5e-5, 0.64)):
        with tracker.run(f"rate {rate}", params={"trainer.learning_rate": rate}, tags={}) as run:
            run.log_metrics({"tuned/ndcg@10": score})
            runs.append(run)
    wanted, experiment = json.dumps([run.run_id for run in runs]), json.dumps([runs[0].experiment_id])
    with sync_api.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page()
        page.goto(f"{address}/#/compare-runs?runs={wanted}&experiments={experiment}", timeout=120_000)
        page.get_by_text("trainer.learning_rate").first.wait_for(timeout=120_000)
        text = page.inner_text("body")
        browser.close()
    for expected in ("trainer.learning_rate", "2e-05", "5e-05", "tuned/ndcg_at_10", "0.61", "0.64"):
        assert expected in text, expected
