"""A suite of MTEB tasks beside a run: scored before and after tuning, once for each model."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.mteb_samples import TASKS
from tests.pipeline.pipeline_settings import TINY

pytest.importorskip("mteb", reason='needs pip install "embexp[mteb]"')

SUITE = ["suite=mteb", "suite.tasks=[my_suite.Similar]", "tracker=none"]


def outcome(folder: Path) -> dict:
    return json.loads((folder / "outcome.json").read_text(encoding="utf-8"))


def test_a_run_says_what_it_did_to_other_tasks(
    run, kb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_suite.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_suite", raising=False)
    options = ["dataset=folder", f"dataset.path={kb}", *SUITE, *TINY]
    done = run("run", *options, "hydra.run.dir=X")
    assert done.code == 0, done.err
    (found,) = outcome(tmp_path / "X")["suite"]
    assert (found["task"], found["kind"], found["metric"]) == ("Similar", "STS", "cosine_spearman")
    assert -1 <= found["untuned"] <= 1
    assert -1 <= found["tuned"] <= 1
    line = f"Similar (STS, cosine_spearman) {found['untuned']:.3f} → {found['tuned']:.3f}"
    assert line in " ".join(done.out.split())
    assert "MTEB scores, without intervals" in (tmp_path / "X" / "report.html").read_text(encoding="utf-8")
    again = run("run", *options, "hydra.run.dir=Y")
    assert again.code == 0, again.err
    assert outcome(tmp_path / "Y")["suite"] == [found]
    assert "suite: nothing changed" in again.err + again.out


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("NoSuchTask", "suite.tasks=NoSuchTask: 'NoSuchTask' not found"),
        ("my_suite.Unreachable", "The data of the MTEB task Unreachable cannot be loaded"),
    ],
)
def test_a_task_that_cannot_be_had_ends_a_run_before_training(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, message: str
) -> None:
    (tmp_path / "my_suite.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_suite", raising=False)
    done = run("run", "experiment=tiny", "suite=mteb", f"suite.tasks=[{task}]", "tracker=none")
    assert done.code == 2
    assert message in " ".join((done.err + done.out).split())
    assert not list(tmp_path.glob("outputs/**/model"))
