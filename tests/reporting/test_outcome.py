from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embexp.benchmarking.systems import SystemCost
from embexp.errors import DataError
from embexp.finetuning.training import Training
from embexp.reporting.outcome import Outcome, read_outcome, write_outcome


def test_the_file_follows_the_contract(tmp_path: Path, outcome: Outcome) -> None:
    write_outcome(tmp_path / "outcome.json", outcome)
    record = json.loads((tmp_path / "outcome.json").read_text())
    assert next(iter(record)) == "schema"
    assert set(record) == {
        *(
            "schema",
            "dataset",
            "model",
            "loss",
            "seed",
            "counts",
            "scores",
            "comparison",
            "leaks",
            "training",
        ),
        *("seconds", "mlflow", "model_dir", "cached", "index", "forgetting", "suite", "systems", "judging"),
        *("seeds", "learning_curve"),
    }
    assert record["schema"] == 1
    assert record["counts"]["pairs"] == {"train": 1500, "dev": 200, "test": 4}
    assert record["comparison"]["interval"] == [0.05, 0.45]
    assert record["leaks"]["near_duplicate_chunks"] == 12
    assert set(record["leaks"]) == {
        *("documents", "near_duplicate_chunks", "near_duplicate_queries"),
        *("removed_from_train", "removed_from_dev"),
    }
    assert set(record["training"]) == {
        *("pairs", "steps", "seconds", "pairs_per_second", "resumed_from", "best_step"),
        *("delivered", "candidates", "general"),
    }
    assert record["cached"] == ["synthesize"]


def test_it_is_read_back_as_it_was_but_for_the_history(tmp_path: Path, outcome: Outcome) -> None:
    write_outcome(tmp_path / "outcome.json", outcome)
    assert outcome.training
    assert read_outcome(tmp_path / "outcome.json") == replace(
        outcome, training=replace(outcome.training, history=())
    )


def test_seeds_and_learning_curve_are_read_back(tmp_path: Path, repeated: Outcome) -> None:
    assert repeated.training
    write_outcome(tmp_path / "outcome.json", repeated)
    record = json.loads((tmp_path / "outcome.json").read_text())
    assert (record["seeds"]["min"], record["seeds"]["max"]) == (0.70, 0.75)
    assert record["learning_curve"]["points"][0]["share"] == 0.25
    kept = replace(repeated, training=replace(repeated.training, history=()))
    assert read_outcome(tmp_path / "outcome.json") == kept


def test_a_run_without_training_or_comparison_is_read_back(tmp_path: Path, outcome: Outcome) -> None:
    bare = replace(outcome, training=None, comparison=None, index=None, cached=())
    write_outcome(tmp_path / "outcome.json", bare)
    assert read_outcome(tmp_path / "outcome.json") == bare


def test_numpy_numbers_and_nan_become_json(tmp_path: Path, outcome: Outcome) -> None:
    odd = replace(
        outcome,
        scores={"tuned": {"ndcg@10": np.float32(0.5), "bad": float("nan")}},
        counts={"documents": np.int64(3), "whole": True},
        training=Training(1, 1, float("inf"), 1.0),
        dataset=Path("kb"),  # type: ignore[arg-type]
    )
    write_outcome(tmp_path / "outcome.json", odd)
    record = json.loads((tmp_path / "outcome.json").read_text())
    assert record["scores"]["tuned"] == {"ndcg@10": 0.5, "bad": None}
    assert record["counts"] == {"documents": 3, "whole": True}
    assert record["training"]["seconds"] is None
    assert record["dataset"] == "kb"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "schema None, and this version reads 1"),
        ('{"schema": 2}', "schema 2, and this version reads 1"),
        ('{"schema": 1, "dataset": "kb"}', "not a whole outcome .*model"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "outcome.json"
    path.write_text(text)
    with pytest.raises(DataError, match=f"outcome.json.*{message}"):
        read_outcome(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"outcome\.json does not exist"):
        read_outcome(tmp_path / "outcome.json")


def test_what_systems_take_comes_back(tmp_path: Path, outcome: Outcome) -> None:
    costs = {"tuned": SystemCost(12.5, 0.004, 1536, 384, cached=True), "bm25": SystemCost(0.5, 0.001, 90)}
    write_outcome(tmp_path / "outcome.json", replace(outcome, systems=costs))
    record = json.loads((tmp_path / "outcome.json").read_text())
    assert record["systems"]["tuned"] == {
        "embed_seconds": 12.5, "query_seconds": 0.004, "index_bytes": 1536, "dimension": 384, "cached": True,
    }  # fmt: skip
    assert read_outcome(tmp_path / "outcome.json").systems == costs
