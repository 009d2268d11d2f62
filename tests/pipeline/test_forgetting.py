"""A general set beside the run's own questions: a run scores it before and after tuning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipeline.pipeline_settings import TINY

GENERAL = ["benchmark@forgetting=beir", "tracker=none"]


def test_a_run_says_what_it_did_to_a_general_set(run, kb: Path, beir: Path, tmp_path: Path) -> None:
    options = ["dataset=folder", f"dataset.path={kb}", f"forgetting.dataset.path={beir}", *GENERAL, *TINY]
    done = run("run", *options, "hydra.run.dir=X")
    assert done.code == 0, done.err
    outcome = json.loads((tmp_path / "X" / "outcome.json").read_text(encoding="utf-8"))
    found = outcome["forgetting"]
    before, after = (found["scores"][name]["ndcg@10"] for name in ("untuned", "tuned"))
    assert found["comparison"]["delta"] == pytest.approx(after - before)
    assert found["comparison"]["clusters"] == 9  # 18 documents are asked about, one half of them guards
    assert set(outcome["training"]["general"]) >= {"untuned", "tuned"}
    assert "Forgetting: ndcg@10 on beir" in done.out
    assert "Forgetting" in (tmp_path / "X" / "report.html").read_text(encoding="utf-8")
    again = run("run", *options, "hydra.run.dir=Y")
    assert again.code == 0, again.err
    assert json.loads((tmp_path / "Y" / "outcome.json").read_text(encoding="utf-8"))["forgetting"] == found


def test_the_run_s_own_questions_are_no_general_set(run) -> None:
    done = run("run", "experiment=tiny", "benchmark@forgetting=heldout")
    assert done.code == 2
    assert "choose a set with a corpus of its own" in done.err + done.out
