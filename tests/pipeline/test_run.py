"""Whole runs on a model built in code: what they leave, what they reuse, and how they end."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from pathlib import Path

import pytest

from embexp.benchmarking.statistics.comparison import Comparison
from embexp.storage.checksums import read_checked_json, write_checked_json
from tests.pipeline.pipeline_settings import TINY

CONTRACT = {
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
    "seconds",
    "mlflow",
    "model_dir",
    "cached",
}
METRICS = {"accuracy@1", "precision@10", "recall@10", "f1@10", "mrr@10", "ndcg@10", "map@100"}


def outcome_of(folder: Path) -> dict:
    return json.loads((folder / "outcome.json").read_text(encoding="utf-8"))


def test_a_folder_of_documents_becomes_a_verdict(run, kb: Path, tmp_path: Path) -> None:
    done = run(
        "run", "dataset=folder", f"dataset.path={kb}", "hydra.run.dir=X", "tracker.register=docs", *TINY
    )
    assert done.code == 0, done.err
    outcome = outcome_of(tmp_path / "X")
    assert outcome.keys() >= CONTRACT
    assert set(outcome["scores"]) == {"untuned", "tuned", "bm25", "hybrid"}
    assert all(scores.keys() >= METRICS for scores in outcome["scores"].values())
    assert outcome["comparison"]["verdict"] in {"WIN", "NO EVIDENCE", "REGRESSION"}
    assert outcome["counts"]["documents"] == 60
    assert outcome["leaks"]["documents"] == 0
    assert outcome["retriever"]["comparison"]["verdict"] in {"WIN", "NO EVIDENCE", "REGRESSION"}
    assert outcome["cached"] == []
    left = {
        path.relative_to(tmp_path / "X").as_posix() for path in (tmp_path / "X").rglob("*") if path.is_file()
    }
    assert left >= {
        "report.html",
        "report.md",
        "scores.parquet",
        "run.log",
        ".hydra/config.yaml",
        "data/train.jsonl",
        "data/train.manifest.json",
        "data/dev.jsonl",
        "data/test.jsonl",
        "model/model.safetensors",
        "index/chroma.sqlite3",
    }
    assert outcome["comparison"]["verdict"] in done.out
    assert f"Retriever: the {outcome['retriever']['model']} model" in done.out
    assert "embexp.search" in done.out
    champion = "champion" if outcome["comparison"]["verdict"] == "WIN" else ""
    registered = {"registered_model": "docs", "registered_version": "1", "registered_alias": champion}
    assert outcome["mlflow"].items() >= registered.items()
    assert "Registry  models:/docs/1" in done.out
    assert ("models:/docs@champion now points to this version" in done.out) == bool(champion)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        aliases = database.execute("SELECT alias FROM registered_model_aliases").fetchall()
        tags = database.execute(
            "SELECT key, value FROM tags WHERE run_uuid = ? AND key LIKE 'retriever%' ORDER BY key",
            (outcome["mlflow"]["run_id"],),
        ).fetchall()
    assert aliases == ([("champion",)] if champion else [])
    [(_, name), (_, verdict)] = tags
    assert name.startswith(outcome["retriever"]["model"])
    assert verdict == outcome["retriever"]["comparison"]["verdict"]


def test_the_tracker_shows_the_verdict_and_few_metrics_first(run, kb: Path, tmp_path: Path) -> None:
    done = run("run", "dataset=folder", f"dataset.path={kb}", "hydra.run.dir=X", *TINY)
    assert done.code == 0, done.err
    outcome = outcome_of(tmp_path / "X")
    run_id, comparison = outcome["mlflow"]["run_id"], outcome["comparison"]
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        tags = dict(database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)))
        asked = "SELECT key, value FROM latest_metrics WHERE run_uuid = ?"
        metrics = dict(database.execute(asked, (run_id,)))
        children = dict(
            database.execute(
                "SELECT name, runs.run_uuid FROM runs JOIN tags ON runs.run_uuid = tags.run_uuid "
                "WHERE key = 'mlflow.parentRunId' AND tags.value = ?",
                (run_id,),
            )
        )
        details = dict(database.execute(asked, (children["details"],)))
    assert tags["verdict"] == comparison["verdict"]
    assert float(tags["delta"].replace("−", "-")) == pytest.approx(comparison["delta"], abs=5e-4)
    assert " … " in tags["interval"]
    assert (tags["model"], tags["loss"], tags["dataset"]) == ("tiny", "mnrl", outcome["dataset"])
    note = tags["mlflow.note.content"]
    assert note.startswith(f"**{comparison['verdict']}**: ")
    assert f"/runs/{run_id}/artifacts/report.html)" in note
    assert str(tmp_path / "X") in note
    assert metrics["delta"] == pytest.approx(comparison["delta"])
    assert {"delta_low", "delta_high", "untuned/ndcg_at_10", "tuned/ndcg_at_10"} <= metrics.keys()
    assert len(metrics) <= 12
    assert {"p", "seconds/finetune", "index/recall"} <= details.keys()
    assert not metrics.keys() & {"p", "seconds/finetune", "tuned/map_at_100"}
    assert {"finetune", "benchmark untuned", "benchmark tuned"} <= children.keys()


def test_no_document_stands_in_two_splits(run, kb: Path, tmp_path: Path) -> None:
    assert (
        run("finetune", "dataset=folder", f"dataset.path={kb}", "hydra.run.dir=X", "tracker=none", *TINY).code
        == 0
    )
    documents = {
        split: {json.loads(line)["document_id"] for line in (tmp_path / f"X/data/{split}.jsonl").open()}
        for split in ("train", "dev", "test")
    }
    assert all(documents.values())
    assert not documents["train"] & documents["dev"]
    assert not documents["train"] & documents["test"]
    assert not documents["dev"] & documents["test"]


def test_a_second_identical_run_does_no_work_twice_and_says_so(run, beir: Path, tmp_path: Path) -> None:
    arguments = ["dataset=beir", f"dataset.path={beir}", "tracker=none", "trainer.select=tuned", *TINY]
    first = run("run", *arguments, "hydra.run.dir=X")
    assert first.code == 0, first.err
    again = run("run", *arguments, "hydra.run.dir=Y")
    assert again.code == 0, again.err
    assert outcome_of(tmp_path / "Y")["cached"] == ["synthesize", "finetune", "benchmark"]
    assert outcome_of(tmp_path / "Y")["scores"] == outcome_of(tmp_path / "X")["scores"]
    assert outcome_of(tmp_path / "Y")["retriever"] == outcome_of(tmp_path / "X")["retriever"]
    assert again.err.count("nothing changed, taken from the cache") == 8
    other = run("run", *arguments, "hydra.run.dir=Z", "loss=cosent")
    assert other.code == 0, other.err
    assert outcome_of(tmp_path / "Z")["cached"] == ["synthesize"]


def test_a_cached_benchmark_that_cannot_be_read_is_measured_again(run, beir: Path, tmp_path: Path) -> None:
    arguments = ["dataset=beir", f"dataset.path={beir}", "dataset.train=none", "tracker=none", *TINY]
    assert run("benchmark", *arguments, "hydra.run.dir=X").code == 0
    scores = outcome_of(tmp_path / "X")["scores"]
    (results,) = (tmp_path / "outputs" / "cache" / "benchmark").glob("*/results.json")
    whole = results.read_text(encoding="utf-8")
    other = Comparison("ndcg@10", 0.0, (-0.1, 0.1), 1.0, 30, 30, "NO EVIDENCE")
    changed = {**json.loads(whole), "comparison": {**asdict(other), "verdict": "EQUIVALENT"}}
    for text in (whole[:100], json.dumps(changed)):
        results.write_text(text, encoding="utf-8")
        again = run("benchmark", *arguments, "hydra.run.dir=Y")
        assert again.code == 0, again.err
        told = [line for line in again.err.splitlines() if "is computed again" in line]
        assert len(told) == 1
        assert results.parent.name in told[0]
        assert outcome_of(tmp_path / "Y")["scores"] == scores
        assert "benchmark" not in outcome_of(tmp_path / "Y")["cached"]
    last = run("benchmark", *arguments, "hydra.run.dir=Z")
    assert "benchmark" in outcome_of(tmp_path / "Z")["cached"]
    assert "is computed again" not in last.err


def test_a_cached_training_that_cannot_be_read_is_done_again(run, beir: Path, tmp_path: Path) -> None:
    arguments = ["dataset=beir", f"dataset.path={beir}", "tracker=none", *TINY]
    assert run("finetune", *arguments, "hydra.run.dir=X").code == 0
    (marker,) = (tmp_path / "outputs" / "cache" / "finetune").glob("*/done.json")
    whole = read_checked_json(marker)
    write_checked_json(marker, {**whole, "result": {**whole["result"], "pairs": "many"}})
    again = run("finetune", *arguments, "hydra.run.dir=Y")
    assert again.code == 0, again.err
    assert again.err.count("is computed again") == 1
    assert read_checked_json(marker)["result"]["pairs"] == whole["result"]["pairs"]
    assert (tmp_path / "Y" / "model" / "model.safetensors").is_file()


def test_no_later_training_embeds_a_text_with_the_untuned_model_again(
    run, beir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embexp.models.encoder import ModelEmbedder

    encoded, encode = [], ModelEmbedder._encode

    def counted(self, texts, *arguments):
        encoded.append(self.fingerprint)
        return encode(self, texts, *arguments)

    monkeypatch.setattr(ModelEmbedder, "_encode", counted)
    data = ["dataset=beir", f"dataset.path={beir}", "tracker=none", "trainer.hard_negatives=1", *TINY]
    assert run("finetune", *data).code == 0
    untuned = {each for each in encoded if " in training " not in each}
    assert len(untuned) == 1  # for dev scores and for mining, though training cuts texts shorter
    encoded.clear()
    assert run("finetune", *data, "trainer.learning_rate=1e-5").code == 0
    assert encoded
    assert all(" in training " in each for each in encoded)


def test_stages_alone_on_files_give_what_the_whole_run_gives(run, beir: Path, tmp_path: Path) -> None:
    data = ["dataset=beir", f"dataset.path={beir}", "tracker=none"]
    whole = run("run", *data, *TINY, "hydra.run.dir=X")
    assert whole.code == 0, whole.err
    assert run("finetune", *data, *TINY, "paths.cache=other", "hydra.run.dir=A").code == 0
    bench = run("benchmark", *data, *TINY, "model@tuned=local", "tuned.path=A/model", "hydra.run.dir=B")
    assert bench.code == 0, bench.err
    alone, together = outcome_of(tmp_path / "B"), outcome_of(tmp_path / "X")
    assert alone["scores"] == together["scores"]
    assert alone["comparison"] == together["comparison"]


def test_a_benchmark_without_a_tuned_model_has_no_verdict(run, beir: Path, tmp_path: Path) -> None:
    done = run("benchmark", "dataset=beir", f"dataset.path={beir}", "tracker=none", "hydra.run.dir=X", *TINY)
    assert done.code == 0, done.err
    assert outcome_of(tmp_path / "X")["comparison"] is None
    assert set(outcome_of(tmp_path / "X")["scores"]) == {"untuned", "bm25", "hybrid"}


@pytest.mark.parametrize(("retriever", "compared"), [("chroma", True), ("bm25", False), ("hybrid", False)])
def test_only_an_approximate_index_is_compared_with_exact_search(
    retriever: str, compared: bool, run, beir: Path, tmp_path: Path
) -> None:
    data = ["dataset=beir", f"dataset.path={beir}", "tracker=none"]
    assert run("benchmark", *data, f"retriever={retriever}", "hydra.run.dir=X", *TINY).code == 0
    index = outcome_of(tmp_path / "X")["index"]
    assert (index is not None) == compared
    assert not compared or index["recall"] > 0.9


def test_train_none_benchmarks_only(run, beir: Path, tmp_path: Path) -> None:
    done = run(
        "run",
        "dataset=beir",
        f"dataset.path={beir}",
        "dataset.train=none",
        "tracker=none",
        "hydra.run.dir=X",
        *TINY,
    )
    assert done.code == 0, done.err
    assert outcome_of(tmp_path / "X")["training"] is None


def test_synthetic_pairs_train_and_people_s_questions_test(run, beir: Path, tmp_path: Path) -> None:
    done = run(
        "run",
        "dataset=beir",
        f"dataset.path={beir}",
        "dataset.train=synthetic",
        "synthesis=extractive",
        "tracker=none",
        "hydra.run.dir=X",
        *TINY,
    )
    assert done.code == 0, done.err
    kinds = {
        split: {json.loads(line)["generator"]["kind"] for line in (tmp_path / f"X/data/{split}.jsonl").open()}
        for split in ("train", "test")
    }
    assert kinds == {"train": {"extractive"}, "test": {"human"}}


def test_written_pairs_can_be_trained_on_later(run, kb: Path, tmp_path: Path) -> None:
    wrote = run(
        "synthesize", "dataset=folder", f"dataset.path={kb}", "model=tiny", "tracker=none", "hydra.run.dir=S"
    )
    assert wrote.code == 0, wrote.err
    summary = json.loads((tmp_path / "S/synthesis.json").read_text())
    assert summary["accepted"] == sum(1 for _ in (tmp_path / "S/data/pairs.jsonl").open())
    for name in ("pairs.jsonl", "pairs.csv", "pairs.parquet"):
        path = tmp_path / "S/data" / name
        done = run(
            "finetune",
            "dataset=pairs",
            f"dataset.path={path}",
            "tracker=none",
            f"hydra.run.dir=F-{name}",
            *TINY,
        )
        assert done.code == 0, done.err
    models = {
        (tmp_path / f"F-{name}/model/model.safetensors").read_bytes() for name in ("pairs.jsonl", "pairs.csv")
    }
    assert len(models) == 1  # the same pairs give the same weights, whatever file they came in


def test_search_shows_both_models_side_by_side(run, kb: Path) -> None:
    assert run("run", "dataset=folder", f"dataset.path={kb}", "tracker=none", *TINY).code == 0
    found = run("search", "which kettle boils water", "--run", "latest")
    assert found.code == 0, found.err
    assert "untuned" in found.out
    assert "kettle" in found.out
    assert "Served: the " in found.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["q", "--run", "nowhere"], "nowhere is not a finished run"),
        (["q"], "There is no finished run below outputs"),
    ],
)
def test_search_without_a_run_says_what_to_do(run, arguments: list[str], sentence: str) -> None:
    done = run("search", *arguments)
    assert done.code == 2
    assert sentence in done.err


def test_a_whole_run_refuses_a_tuned_model(run) -> None:
    done = run("run", "model@tuned=tiny", "model=tiny", "tracker=none")
    assert done.code == 2
    assert "embexp.benchmark" in done.err


def test_a_metric_with_another_cutoff_selects_the_weights(run, kb: Path, tmp_path: Path) -> None:
    data = ["dataset=folder", f"dataset.path={kb}", "tracker=none", *TINY]
    done = run("finetune", *data, "metric=ndcg@5", "hydra.run.dir=X")

    assert done.code == 0
    assert "dev ndcg@5" in done.err


def test_the_next_command_repeats_the_recipe(run, tmp_path: Path) -> None:
    done = run("finetune", "experiment=tiny", "dataset.limit=60", "tracker=none", "hydra.run.dir=X")

    assert done.code == 0
    assert "python -m embexp.benchmark experiment=tiny dataset.limit=60 model@tuned=local" in done.out
