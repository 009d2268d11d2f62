from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embexp.benchmarking.systems import SystemCost
from embexp.errors import DataError
from embexp.finetuning.training import Training
from embexp.reporting.outcome import Outcome


def test_the_file_follows_the_contract(tmp_path: Path, outcome: Outcome) -> None:
    outcome.write(tmp_path / "outcome.json")
    record = json.loads((tmp_path / "outcome.json").read_text())
    keys = (
        "schema dataset model loss seed counts scores comparison leaks training seconds mlflow model_dir "
        "cached index forgetting judging systems suite seeds learning_curve retriever reranking "
        "repeated_texts questions teacher truncation score_threshold"
    )
    assert list(record) == keys.split()
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
        *("selected", "candidates", "general", "reason", "plan", "chosen_by_dev", "new_tokens"),
        "transliterated",
    }
    assert record["cached"] == ["synthesize"]


def test_it_is_read_back_as_it_was_but_for_the_history(tmp_path: Path, outcome: Outcome) -> None:
    outcome.write(tmp_path / "outcome.json")
    assert outcome.training
    assert Outcome.read(tmp_path / "outcome.json") == outcome.model_copy(
        update={"training": replace(outcome.training, history=())}
    )


def test_a_score_that_json_cannot_hold_is_read_as_nan(tmp_path: Path, outcome: Outcome) -> None:
    odd = outcome.model_copy(update={"scores": {"tuned": {"ndcg@10": float("nan")}}})
    odd.write(tmp_path / "outcome.json")
    assert math.isnan(Outcome.read(tmp_path / "outcome.json").scores["tuned"]["ndcg@10"])


def test_seeds_and_learning_curve_are_read_back(tmp_path: Path, repeated: Outcome) -> None:
    assert repeated.training
    repeated.write(tmp_path / "outcome.json")
    record = json.loads((tmp_path / "outcome.json").read_text())
    assert (record["seeds"]["min"], record["seeds"]["max"]) == (0.70, 0.75)
    assert record["learning_curve"]["points"][0]["share"] == 0.25
    kept = repeated.model_copy(update={"training": replace(repeated.training, history=())})
    assert Outcome.read(tmp_path / "outcome.json") == kept


def test_a_run_without_training_or_comparison_is_read_back(tmp_path: Path, outcome: Outcome) -> None:
    bare = outcome.model_copy(update={"training": None, "comparison": None, "index": None, "cached": ()})
    bare.write(tmp_path / "outcome.json")
    assert Outcome.read(tmp_path / "outcome.json") == bare


def test_numpy_numbers_and_nan_become_json(tmp_path: Path, outcome: Outcome) -> None:
    values = {
        "scores": {"tuned": {"ndcg@10": np.float32(0.5), "bad": float("nan")}},
        "counts": {"documents": np.int64(3)},
        "training": Training(1, np.int64(1), float("inf"), np.float32(1.0)),
    }
    Outcome(**{**dict(outcome), **values}).write(tmp_path / "outcome.json")
    record = json.loads((tmp_path / "outcome.json").read_text())
    assert record["scores"]["tuned"] == {"ndcg@10": 0.5, "bad": None}
    assert record["counts"] == {"documents": 3}
    assert record["training"]["seconds"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "schema None, and this version reads 1"),
        ('{"schema": 2}', "schema 2, and this version reads 1"),
        ('{"schema": 1, "dataset": "kb"}', "not a complete outcome .*model: Field required"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "outcome.json"
    path.write_text(text)
    with pytest.raises(DataError, match=f"outcome.json.*{message}"):
        Outcome.read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"outcome\.json does not exist"):
        Outcome.read(tmp_path / "outcome.json")


def test_the_costs_of_systems_are_read_back(tmp_path: Path, outcome: Outcome) -> None:
    costs = {"tuned": SystemCost(12.5, 0.004, 1536, 384, cached=True), "bm25": SystemCost(0.5, 0.001, 90)}
    outcome.model_copy(update={"systems": costs}).write(tmp_path / "outcome.json")
    record = json.loads((tmp_path / "outcome.json").read_text())
    assert record["systems"]["tuned"] == {
        "embed_seconds": 12.5,
        "query_seconds": 0.004,
        "index_bytes": 1536,
        "dimension": 384,
        "cached": True,
    }
    assert Outcome.read(tmp_path / "outcome.json").systems == costs


def test_the_retriever_is_read_back(tmp_path: Path, served: Outcome) -> None:
    served.write(tmp_path / "outcome.json")
    record = json.loads((tmp_path / "outcome.json").read_text())["retriever"]
    assert (record["model"], record["fusion"], record["weight"]) == ("tuned", "convex", 0.4)
    assert record["comparison"]["verdict"] == "WIN"
    assert len(record["curve"]["tuned"]) == len(record["weights"]) == 8
    assert Outcome.read(tmp_path / "outcome.json").retriever == served.retriever


def test_an_outcome_of_a_run_that_chose_no_retriever_is_read(tmp_path: Path, served: Outcome) -> None:
    served.write(tmp_path / "outcome.json")
    record = json.loads((tmp_path / "outcome.json").read_text())
    del record["retriever"]
    (tmp_path / "outcome.json").write_text(json.dumps(record))
    assert Outcome.read(tmp_path / "outcome.json").retriever is None
