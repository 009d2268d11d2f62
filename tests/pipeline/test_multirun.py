"""Several jobs of one command: the database is there before they start, and failures are summarised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import open_dict, read_write

from embexp.config.multirun import BeforeJobs
from embexp.config.schema import register
from embexp.package import conf_dir
from tests.pipeline.pipeline_settings import TINY

JOBS = ["dataset=folder", "tracker=none", "synthesis.target=10", "hydra.sweep.dir=jobs"]


def test_one_job_fails_and_the_others_finish(run, kb: Path) -> None:
    ended = run("synthesize", "-m", *JOBS, "dataset.path=nowhere,kb,gone")
    assert ended.code == 2
    assert (kb.parent / "jobs" / "1" / "synthesis.json").is_file()
    message = ended.err.strip().splitlines()[-1]
    assert "2 of 3 jobs failed. Job 0 (dataset.path=nowhere): nowhere does not exist" in message
    assert "2 (dataset.path=gone): gone does not exist" in message
    assert "The others are finished, in jobs." in message
    failed = json.loads((kb.parent / "jobs" / "0" / "failed.json").read_text())
    assert (failed["job"], failed["mistake"]) == (0, True)
    assert "nowhere" in failed["error"]
    assert "nowhere" in (kb.parent / "jobs" / "0" / "run.log").read_text()


def test_what_failed_before_is_forgotten(run, kb: Path) -> None:
    assert run("synthesize", "-m", *JOBS, "dataset.path=nowhere,kb").code == 2
    (kb.parent / "nowhere").mkdir()
    (kb.parent / "nowhere" / "page.md").write_text((kb / "piano1.md").read_text())
    assert run("synthesize", "-m", *JOBS, "dataset.path=nowhere,kb").code == 0
    assert not (kb.parent / "jobs" / "0" / "failed.json").exists()


def test_a_tracker_that_cannot_be_used_stops_all_jobs_before_the_first(run, kb: Path) -> None:
    options = [
        "dataset=folder",
        "dataset.path=kb,kb",
        "hydra.sweep.dir=jobs",
        "tracker.uri=http://127.0.0.1:9",
    ]
    ended = run("synthesize", "-m", *options)
    assert ended.code == 2
    assert ended.err.count("No MLflow server answers at http://127.0.0.1:9") == 1
    assert not (kb.parent / "jobs" / "0").exists()


def test_a_fault_of_ours_in_a_job_ends_with_1(run, kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embexp.pipeline.run.run_synthesis", None)  # fails in embexp's own code
    ended = run("synthesize", "-m", *JOBS, "dataset.path=kb,kb")
    assert ended.code == 1
    assert "2 of 2 jobs failed. Job 0 (), 1 (): TypeError: 'NoneType' object is not callable" in ended.err
    assert "An internal error in embexp, not a mistake in your input: 2 of 2" in ended.err


def test_the_configuration_stays_as_it_is_for_the_sweeper(tmp_path: Path) -> None:
    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(
            "config", overrides=["tracker=none", "hydra.sweep.dir=jobs"], return_hydra_config=True
        )
    BeforeJobs().on_multirun_start(config)
    assert BeforeJobs.folder == Path("jobs")
    with read_write(config), open_dict(config):
        config.hydra.sweep.dir = "elsewhere"
    assert config.hydra.sweep.dir == "elsewhere"


def test_a_multirun_ends_with_its_table(run, kb: Path) -> None:
    options = ["dataset=folder", "dataset.path=kb", "tracker=none", "hydra.sweep.dir=jobs", *TINY]
    ended = run("run", "-m", *options, "loss=mnrl,cosent", "synthesis.target=60")
    assert ended.code == 0, ended.err
    table = ended.out[ended.out.index("2 runs, side by side:") :]
    for name in ("loss=mnrl tuned", "loss=cosent tuned", "untuned", "p (Holm)"):
        assert name in table
    assert "Best by ndcg@10: " in table
    assert "more than luck" in table or "may be luck" in table
    assert "Not like for like" in table  # a loss over scores reads a row for each negative, too
    assert "Again     python -m embexp.compare jobs/0 jobs/1" in table
    page = (kb.parent / "jobs" / "compare.html").read_text()
    assert "loss=cosent tuned" in page


def test_runs_with_other_questions_keep_their_own_verdicts(run, kb: Path) -> None:
    options = ["dataset=folder", "dataset.path=kb", "tracker=none", "hydra.sweep.dir=jobs", *TINY]
    ended = run("benchmark", "-m", *options, "seed=0,1")
    assert ended.code == 0, ended.err
    assert "2 runs, each with its own verdict (" in ended.out
    assert "seed=1: No verdict: there is no tuned model to compare." in ended.out
