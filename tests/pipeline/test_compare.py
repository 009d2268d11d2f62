"""Past runs side by side: from folders and from MLflow, and what cannot be compared."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.score_files import write_queries, write_scores
from embexp.benchmarking.statistics.comparison import Comparison
from embexp.benchmarking.task import Query
from embexp.data.leaks import Leaks
from embexp.reporting.outcome import Outcome
from embexp.tracking.mlflow import MlflowTracker
from tests.markdown_tables import tables
from tests.pipeline.pipeline_settings import TINY

COUNT = 40


def leave_run(
    folder: Path, *, shift: float, seed: int = 0, count: int = COUNT, word: str = "question"
) -> Path:
    """Leave what a run leaves: an untuned model that is always the same, and a tuned one that is not."""
    draw = random.Random(5)
    before = [draw.uniform(0.2, 0.5) for _ in range(count)]
    noise = random.Random(seed)
    after = [value + shift + noise.uniform(-0.05, 0.05) for value in before]
    scores = [
        Scores(
            name,
            {"ndcg@10": sum(values) / count, "mrr@10": 0.5},
            {f"q{at}": {"ndcg@10": value, "mrr@10": 0.5} for at, value in enumerate(values)},
        )
        for name, values in {"untuned": before, "tuned": after}.items()
    ]
    outcome = Outcome(
        dataset="kb",
        model="tiny",
        loss="mnrl",
        seed=seed,
        counts={},
        scores={found.system: found.mean for found in scores},
        comparison=Comparison("ndcg@10", shift, (0.0, 0.1), 0.01, count, count, "NO EVIDENCE"),
        leaks=Leaks(),
        training=None,
        seconds={},
        mlflow={},
        model_dir="",
    )
    folder.mkdir(parents=True)
    outcome.write(folder / "outcome.json")
    write_scores(folder / "scores.parquet", scores)
    write_queries(
        folder / "queries.jsonl", [Query(f"q{at}", f"{word} {at}", f"d{at}") for at in range(count)]
    )
    return folder


def test_two_runs_share_their_untuned_model_and_differ_by_their_tuned_ones(run, tmp_path: Path) -> None:
    leave_run(tmp_path / "A", shift=0.1)
    leave_run(tmp_path / "B<script>", shift=0.0, seed=1)
    done = run("compare", "A", "B<script>", "--out", "C")
    assert done.code == 0, done.err
    assert "40 questions from 40 documents; p is corrected for 3 tests (Holm)." in done.out
    record = json.loads((tmp_path / "C/compare.json").read_text())
    assert list(record["systems"]) == ["untuned", "seed=0 tuned", "seed=1 tuned"]
    assert {(each["base"], each["system"]): each["result"] for each in record["contrasts"]} == {
        ("untuned", "seed=0 tuned"): "higher",
        ("untuned", "seed=1 tuned"): "no evidence",
        ("seed=0 tuned", "seed=1 tuned"): "lower",
    }
    page = (tmp_path / "C/compare.html").read_text()
    assert page.count("<script>") == 1
    assert "B&lt;script&gt;" in page
    assert "default-src 'none'" in page
    systems, contrasts = tables((tmp_path / "C/compare.md").read_text())
    assert ["seed=0 tuned", "kb", "tiny", "mnrl", "0"] in [row[:5] for row in systems]
    assert (len(systems), len(contrasts)) == (1 + 3, 1 + 3)


def test_runs_are_also_found_by_their_mlflow_id(run, tmp_path: Path) -> None:
    tracker = MlflowTracker(root=str(tmp_path))
    folder = leave_run(tmp_path / "A", shift=0.1)
    with tracker.run("a", params={}, tags={}) as kept:
        for path in folder.iterdir():
            kept.log_artifact(path)
    with tracker.run("b", params={}, tags={}) as bare:
        pass
    leave_run(tmp_path / "B", shift=0.0, seed=1)
    done = run("compare", kept.run_id, "B", "--system", "tuned", "--metric", "mrr@10", "--out", "C")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "C/compare.json").read_text())
    assert list(record["systems"]) == ["seed=0 tuned", "seed=1 tuned"]
    assert record["metric"] == "mrr@10"
    for wrong, sentence in ((bare.run_id, "has no outcome.json"), ("0" * 32, "not found")):
        done = run("compare", wrong, "B")
        assert done.code == 2
        assert sentence in done.err
    done = run("compare", kept.run_id, "B", "--root", "elsewhere")
    assert done.code == 2
    assert "There is no MLflow database" in done.err
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["A", "nowhere"], "nowhere is neither a run's folder nor the id of an MLflow run"),
        (["A", "empty"], "empty is not the folder of a finished run or benchmark (no outcome.json)"),
        (["A", "A"], "A is named twice"),
        (["A", "shorter"], "A and shorter were not asked the same questions (10 differ, such as 'q30')"),
        (["A", "other"], "A and other were not asked the same questions (40 differ, such as 'q0')"),
        (["A", "B", "--system", "bm25"], "No run has a system 'bm25': choose from untuned, tuned."),
        (["A", "B", "--system", "untuned"], "There is one system to compare, untuned"),
        (["A", "B", "--metric", "map@5"], "has no map@5"),
        (["A", "cut"], "cut/queries.jsonl:1: not a question"),
        (["A", "torn"], "torn/scores.parquet is no table of scores"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    run, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    leave_run(tmp_path / "A", shift=0.1)
    leave_run(tmp_path / "B", shift=0.0)
    leave_run(tmp_path / "shorter", shift=0.0, count=30)
    leave_run(tmp_path / "other", shift=0.0, word="thing")
    leave_run(tmp_path / "cut", shift=0.0).joinpath("queries.jsonl").write_text("{}\n")
    leave_run(tmp_path / "torn", shift=0.0).joinpath("scores.parquet").write_text("no table")
    (tmp_path / "empty").mkdir()
    done = run("compare", *arguments)
    assert done.code == 2
    assert sentence in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_real_benchmarks_can_be_compared(run, beir: Path, tmp_path: Path) -> None:
    data = ["dataset=beir", f"dataset.path={beir}", "tracker=none", *TINY]
    assert run("benchmark", *data, "hydra.run.dir=X").code == 0
    assert run("benchmark", *data, "model.seed=1", "hydra.run.dir=Y").code == 0
    done = run("compare", "X", "Y", "--system", "untuned", "--system", "bm25")
    assert done.code == 0, done.err
    (report,) = tmp_path.glob("outputs/comparisons/*/*/compare.json")
    names = list(json.loads(report.read_text())["systems"])
    assert names == ["model.seed=0 untuned", "model.seed=1 untuned", "bm25"]
