"""Further seeds and parts of the pairs: what a run adds for them, and that nothing is trained twice."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from embexp.data.records import Pair
from embexp.data.splitting import Splits
from embexp.finetuning.auto import AutoFineTuner
from embexp.pipeline.repeats import _first_documents, _pairs_of_the_whole
from tests.pipeline.pipeline_settings import TINY

FAST = ["tracker=none", "trainer.evaluations=1", "trainer.merge=[]", *TINY]


def outcome_of(folder: Path) -> dict:
    return json.loads((folder / "outcome.json").read_text(encoding="utf-8"))


def test_seeds_and_parts_are_trained_once_and_told(run, beir: Path, tmp_path: Path) -> None:
    data = ["dataset=beir", f"dataset.path={beir}", *FAST]
    asked = ["benchmark.seeds=2", "benchmark.learning_curve=[0.5]"]
    plain = run("run", *data, "hydra.run.dir=W")
    assert plain.code == 0, plain.err
    done = run("run", *data, *asked, "hydra.run.dir=X")
    assert done.code == 0, done.err
    before, after = outcome_of(tmp_path / "W"), outcome_of(tmp_path / "X")
    assert (before["seeds"], before["learning_curve"]) == (None, None)
    # asking for repeats changes neither the run's own model nor its verdict, and takes both from the cache
    assert after["cached"] == ["synthesize", "finetune", "benchmark"]
    assert after["comparison"] == before["comparison"]
    runs = after["seeds"]["runs"]
    assert [each["seed"] for each in runs] == [0, 1]
    assert runs[0]["score"] == after["scores"]["tuned"]["ndcg@10"]
    assert runs[0]["comparison"] == after["comparison"]
    assert after["seeds"]["mean"] == pytest.approx((runs[0]["score"] + runs[1]["score"]) / 2)
    assert after["seeds"]["std"] == pytest.approx(abs(runs[0]["score"] - runs[1]["score"]) / 2**0.5)
    points = after["learning_curve"]["points"]
    assert [point["share"] for point in points] == [0.5, 1]
    pairs = [point["pairs"] for point in points]
    assert pairs[0] < pairs[1]
    assert points[-1]["score"] == runs[0]["score"]
    assert "Seeds: ndcg@10" in done.out
    assert "Learning curve: ndcg@10" in done.out
    page = (tmp_path / "X" / "report.html").read_text(encoding="utf-8")
    assert "Training seeds" in page
    assert "Would more pairs help?" in page
    again = run("run", *data, *asked, "hydra.run.dir=Y")
    assert again.code == 0, again.err
    assert "finetune: nothing changed" in again.err
    assert again.err.count("nothing changed, taken from the cache") == 12  # 6, and 2 trainings and scorings
    assert outcome_of(tmp_path / "Y")["seeds"] == after["seeds"]


@pytest.mark.parametrize(
    ("command", "setting", "sentence"),
    [
        ("run", "benchmark.seeds=0", "benchmark.seeds is 0: give a whole number from 1"),
        (
            "run",
            "benchmark.learning_curve=[0.5,1]",
            "learning_curve is [0.5, 1]: give a list of numbers above",
        ),
        ("run", "benchmark.learning_curve=[0.01]", "benchmark.learning_curve holds 0.01, which is 1 of"),
        ("benchmark", "benchmark.seeds=3", "benchmark.seeds=3 trains again, and this command trains nothing"),
    ],
)
def test_what_cannot_be_repeated_is_one_sentence(
    command: str, setting: str, sentence: str, run, beir: Path
) -> None:
    done = run(command, "dataset=beir", f"dataset.path={beir}", setting, *FAST)
    assert done.code == 2
    assert sentence in done.err


@pytest.mark.parametrize(
    ("settings", "most"),
    [({}, 5000), ({"max_pairs": 40}, 40), ({"max_pairs": None}, 6000), ({"minutes": 1}, 6000)],
)
def test_parts_are_of_the_pairs_that_a_plan_may_use(settings: dict, most: int) -> None:
    splits = Splits([Pair(f"p{n}", f"q{n}", "text", f"d{n}") for n in range(6000)], [], [])
    experiment: Any = SimpleNamespace(trainer=AutoFineTuner(**settings))
    data: Any = SimpleNamespace(splits=splits)
    assert _pairs_of_the_whole(experiment, data) == most


def test_parts_hold_whole_documents_and_grow_from_one_another() -> None:
    pairs = [Pair(f"p{n}", f"q{n}", "text", f"d{n % 10}") for n in range(40)]
    small, large = (_first_documents(pairs, count, seed=3) for count in (9, 20))
    assert len(small) == 12  # three documents of four pairs each
    assert len(large) == 20
    assert {pair.id for pair in small} < {pair.id for pair in large}
    assert [pair.id for pair in large] == [pair.id for pair in pairs if pair in large]
    other = _first_documents(pairs, 9, seed=4)
    assert {pair.document_id for pair in other} != {pair.document_id for pair in small}
