"""Further models, a reranker and smaller vectors, each with its scores and with what it takes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from embexp.finetuning.losses import Matryoshka, Mnrl
from embexp.models.tiny import TinyModel
from embexp.pipeline.benchmark import _trained_lengths
from tests.pipeline.pipeline_settings import TINY
from tests.tiny_cross_encoder import save_cross_encoder


def outcome_of(folder: Path) -> dict:
    return json.loads((folder / "outcome.json").read_text(encoding="utf-8"))


def test_bm25_is_that_of_the_retriever(run, beir: Path, tmp_path: Path) -> None:
    given = ["dataset=beir", f"dataset.path={beir}", "dataset.train=none", "tracker=none", "model=tiny"]
    own = ["retriever=hybrid", "retriever.dense._target_=embexp.retrieval.ExactRetriever"]
    scores = {}
    for name, k1 in (("X", 0.0), ("Y", 100.0)):
        settings = [*own, f"retriever.sparse.k1={k1}", f"hydra.run.dir={name}"]
        done = run("benchmark", *given, *settings)
        assert done.code == 0, done.err
        outcome = outcome_of(tmp_path / name)
        assert outcome["retriever"]["bm25"] == {"k1": k1}
        assert f"retriever.sparse.k1={k1}" in " ".join((tmp_path / name / "report.md").read_text().split())
        scores[name] = [outcome["scores"][each]["ndcg@10"] for each in ("untuned", "bm25", "hybrid")]
    (untuned, *first), (same, *second) = scores["X"], scores["Y"]
    assert untuned == same
    assert first != second


def test_every_system_is_scored_and_its_costs_are_told(run, beir: Path, tmp_path: Path) -> None:
    save_cross_encoder(tmp_path / "cross")
    TinyModel(seed=1, dimension=32).load().save(str(tmp_path / "other"))
    arguments = [
        "dataset=beir",
        f"dataset.path={beir}",
        "dataset.train=none",
        "tracker=none",
        *TINY,
        "model@tuned=tiny",
        "tuned.seed=7",
        "benchmark.models=[tiny,other]",
        "benchmark.reranker=cross",
        "benchmark.rerank_depth=5",
        "benchmark.systems=[int8,binary]",
    ]
    done = run("benchmark", *arguments, "hydra.run.dir=X")
    assert done.code == 0, done.err
    outcome = outcome_of(tmp_path / "X")
    names = [
        "untuned",
        "tuned",
        "tiny",
        "other",
        "bm25",
        "hybrid",
        "tuned int8",
        "tuned binary",
        "untuned reranked",
        "tuned reranked",
    ]
    assert list(outcome["scores"]) == list(outcome["systems"]) == names
    costs = outcome["systems"]
    # 60 documents: 64 or 32 numbers of 4 bytes, a byte a number and the step's 4, a bit a number.
    assert costs["untuned"]["index_bytes"] == 60 * 64 * 4
    assert costs["other"]["index_bytes"] == 60 * 32 * 4
    assert costs["tuned int8"]["index_bytes"] == 60 * (64 + 4)
    assert costs["tuned binary"]["index_bytes"] == 60 * 64 // 8
    assert [costs[name]["dimension"] for name in names[:5]] == [64, 64, 64, 32, None]
    assert costs["bm25"]["index_bytes"] > 0
    assert all(cost["query_seconds"] > 0 and cost["embed_seconds"] > 0 for cost in costs.values())
    assert not costs["untuned"]["cached"]
    assert not costs["tuned int8"]["cached"]  # its vectors were made in this very run
    assert costs["untuned reranked"]["query_seconds"] > costs["untuned"]["query_seconds"]
    assert outcome["scores"]["untuned reranked"] != outcome["scores"]["untuned"]
    # The model `tiny` is the untuned one again: its vectors came from the cache, and so did its times.
    assert outcome["scores"]["tiny"] == outcome["scores"]["untuned"]
    assert costs["tiny"]["cached"]
    # "takes" stands in the closing lines, in the report and in its short form.
    reranking, scores = outcome["reranking"], outcome["scores"]
    assert (reranking["reranker"], reranking["depth"]) == ("cross", 5)
    delta = scores["tuned reranked"]["ndcg@10"] - scores["untuned reranked"]["ndcg@10"]
    assert reranking["comparison"]["delta"] == pytest.approx(delta)
    assert reranking["untuned"]["queries"] == outcome["comparison"]["queries"]
    for text in (
        done.out,
        (tmp_path / "X" / "report.md").read_text(),
        (tmp_path / "X" / "report.html").read_text(),
    ):
        assert "embed" in text
        assert "untuned reranked" in text
        assert "Reranker: " in text
        assert "model with the reranker" in text or "model without the reranker" in text


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("benchmark.models=[bge_bass]", "did you mean 'bge_base'?"),
        ("benchmark.models=[local]", "benchmark.models[0].path has no value"),
        ("benchmark.models=minilm", "give a list"),
        ("benchmark.rerank_depth=0", "benchmark.rerank_depth is 0"),
        ("benchmark.reranker=./nowhere", "benchmark.reranker=./nowhere: there is no such folder"),
    ],
)
def test_a_system_that_cannot_be_is_one_sentence(run, beir: Path, option: str, sentence: str) -> None:
    done = run(
        "benchmark",
        "dataset=beir",
        f"dataset.path={beir}",
        "dataset.train=none",
        "tracker=none",
        *TINY,
        option,
    )
    assert done.code == 2
    last = done.err.strip().splitlines()[-1]
    assert sentence in last
    assert "Traceback" not in done.err


def test_matryoshka_s_lengths_are_benchmarked_without_being_asked_for() -> None:
    assert _trained_lengths(SimpleNamespace(loss=Matryoshka(loss=Mnrl(), dims=[16, 32]))) == [32, 16]
    assert _trained_lengths(SimpleNamespace(loss=Mnrl())) == []
