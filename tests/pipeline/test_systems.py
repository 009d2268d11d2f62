"""Further models, a reranker and smaller vectors, each with its scores and with what it takes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from embexp.benchmarking.systems import (
    SystemCost,
    SystemResult,
    _reranked,
    further_models,
    search_exactly,
    search_systems,
)
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.errors import ModelError
from embexp.finetuning.losses.in_batch import Mnrl
from embexp.finetuning.losses.wrappers import Matryoshka
from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.models.embedding_cache import EmbeddingCache, Fetched
from embexp.models.encoder import SourceEmbedder
from embexp.models.tiny import TinyModel
from embexp.pipeline.benchmark import trained_lengths
from embexp.retrieval.index import Hit
from tests.pipeline.pipeline_settings import TINY
from tests.tiny_cross_encoder import save_cross_encoder

COST = SystemCost(embed_seconds=4.0, query_seconds=0.5, index_bytes=800, dimension=2)


def outcome_of(folder: Path) -> dict:
    return json.loads((folder / "outcome.json").read_text(encoding="utf-8"))


def test_every_system_is_scored_and_its_costs_are_told(run, beir: Path, tmp_path: Path) -> None:
    save_cross_encoder(tmp_path / "cross")
    TinyModel(seed=1, dimension=32).load().save(str(tmp_path / "other"))
    arguments = [
        "dataset=beir", f"dataset.path={beir}", "dataset.train=none", "tracker=none", *TINY,
        "benchmark.models=[tiny,other]", "benchmark.reranker=cross", "benchmark.rerank_depth=5",
        "benchmark.systems=[int8,binary]",
    ]  # fmt: skip
    done = run("benchmark", *arguments, "hydra.run.dir=X")
    assert done.code == 0, done.err
    outcome = outcome_of(tmp_path / "X")
    names = [
        "untuned",
        "tiny",
        "other",
        "bm25",
        "hybrid",
        "untuned int8",
        "untuned binary",
        "untuned reranked",
    ]
    assert list(outcome["scores"]) == list(outcome["systems"]) == names
    costs = outcome["systems"]
    # 60 documents: 64 or 32 numbers of 4 bytes, a byte a number and the step's 4, a bit a number.
    assert costs["untuned"]["index_bytes"] == 60 * 64 * 4
    assert costs["other"]["index_bytes"] == 60 * 32 * 4
    assert costs["untuned int8"]["index_bytes"] == 60 * (64 + 4)
    assert costs["untuned binary"]["index_bytes"] == 60 * 64 // 8
    assert [costs[name]["dimension"] for name in names[:4]] == [64, 64, 32, None]
    assert costs["bm25"]["index_bytes"] > 0
    assert all(cost["query_seconds"] > 0 and cost["embed_seconds"] > 0 for cost in costs.values())
    assert not costs["untuned"]["cached"]
    assert not costs["untuned int8"]["cached"]  # its vectors were made in this very run
    assert costs["untuned reranked"]["query_seconds"] > costs["untuned"]["query_seconds"]
    assert outcome["scores"]["untuned reranked"] != outcome["scores"]["untuned"]
    # The model `tiny` is the untuned one again: its vectors came from the cache, and so did its times.
    assert outcome["scores"]["tiny"] == outcome["scores"]["untuned"]
    assert costs["tiny"]["cached"]
    # "takes" stands in the closing lines, in the report and in its short form.
    for text in (
        done.out,
        (tmp_path / "X" / "report.md").read_text(),
        (tmp_path / "X" / "report.html").read_text(),
    ):
        assert "embed" in text
        assert "untuned reranked" in text


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("benchmark.models=[bge_bass]", "did you mean 'bge_base'?"),
        ("benchmark.models=[local]", "benchmark.models[0].path has no value"),
        ("benchmark.models=minilm", "give a list"),
        ("benchmark.rerank_depth=0", "benchmark.rerank_depth=0"),
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


class FixedReranker:
    """Scores a passage by the number that it ends with."""

    def scores(self, pairs, cache):
        found = np.array([[float(passage.split()[-1])] for _, passage in pairs], dtype=np.float32)
        return Fetched(found, seconds=6.0, known=0)


def test_the_first_passages_are_put_in_a_new_order_and_the_rest_follows(tmp_path: Path) -> None:
    texts = {"a0": "1", "a1": "9", "b0": "5", "c0": "7", "d0": "8"}
    corpus = [Chunk(name, name[0], f"text {grade}") for name, grade in texts.items()]
    task = RetrievalTask("t", corpus, [Query("q", "x", "c"), Query("r", "x", "d")], {}, "document")
    documents = {query: [Hit(name, 1.0 - at / 9) for at, name in enumerate("abcd")] for query in "qr"}
    passages = {
        "q": [Hit(name, 1.0) for name in ("a0", "b0", "c0")],
        "r": [Hit(name, 1.0) for name in ("a0", "a1", "b0")],
    }
    found = _reranked(
        task, SystemResult(documents, COST), passages, FixedReranker(), EmbeddingCache(tmp_path)
    )
    # q: c scores 7, b 5, a 1, and d was not read. r: a has 9 from its better passage, b 5; then c and d.
    assert [hit.id for hit in found.rankings["q"]] == ["c", "b", "a", "d"]
    assert [hit.id for hit in found.rankings["r"]] == ["a", "b", "c", "d"]
    scores = [hit.score for hit in found.rankings["r"]]
    assert scores == sorted(scores, reverse=True)
    assert found.cost.query_seconds == 0.5 + 6.0 / 2  # six seconds for two questions
    assert found.cost.index_bytes == COST.index_bytes


def test_a_question_that_may_not_find_itself_does_not_after_reranking_either(tmp_path: Path) -> None:
    corpus = [Chunk(f"{name}0", name, f"text {grade}") for name, grade in (("q", 9), ("b", 5), ("c", 7))]
    task = RetrievalTask("t", corpus, [Query("q", "x", "c")], {}, "document", skip_own=True)
    base = SystemResult({"q": [Hit("b", 0.9), Hit("c", 0.8)]}, COST)
    passages = {"q": [Hit(name, 1.0) for name in ("q0", "b0", "c0")]}
    found = _reranked(task, base, passages, FixedReranker(), EmbeddingCache(tmp_path))
    assert [hit.id for hit in found.rankings["q"]] == ["c", "b"]


def test_times_are_those_of_the_first_embedding_when_vectors_come_from_the_cache(tmp_path: Path) -> None:
    corpus = [Chunk(f"c{at}", f"c{at}", f"the kettle number {at} boils") for at in range(40)]
    task = RetrievalTask("t", corpus, [Query("q", "which kettle", "c1")], {"q": {"c1": 1}}, "document")
    cache = EmbeddingCache(tmp_path)
    first = search_exactly(task, SourceEmbedder(TinyModel(), cache), tmp_path)
    again = search_exactly(task, SourceEmbedder(TinyModel(), cache), tmp_path)
    assert not first.cost.cached
    assert again.cost.cached
    assert again.rankings == first.rankings
    # Only the search and the sorting differ; the seconds of the vectors are read back.
    assert again.cost.embed_seconds == pytest.approx(first.cost.embed_seconds, abs=0.05)
    assert again.cost.embed_seconds > 0


def test_the_lengths_that_a_loss_trains_are_systems_of_the_tuned_model(tmp_path: Path) -> None:
    corpus = [Chunk(f"c{at}", f"c{at}", f"the kettle number {at} boils") for at in range(5)]
    task = RetrievalTask("t", corpus, [Query("q", "which kettle", "c1")], {"q": {"c1": 1}}, "document")
    cache = EmbeddingCache(tmp_path)
    models = {"untuned": TinyModel(), "tuned": TinyModel(seed=1)}
    embedders = {name: SourceEmbedder(model, cache) for name, model in models.items()}
    asked = SimpleNamespace(systems=["int8", "dimensions=32"])
    found = search_systems(task, asked, embedders, cache, tmp_path, lengths=[128, 64, 32, 16])
    # The model's vectors have 64 numbers: 128 there are not, and 64 is the tuned model itself.
    shorter = ["tuned int8", "tuned dimensions=32", "tuned dimensions=16"]
    assert list(found) == ["untuned", "tuned", "bm25", "hybrid", *shorter]
    assert [found[name].cost.dimension for name in shorter] == [64, 32, 16]


def test_matryoshka_s_lengths_are_benchmarked_without_being_asked_for() -> None:
    assert trained_lengths(SimpleNamespace(loss=Matryoshka(loss=Mnrl(), dims=[16, 32]))) == [32, 16]
    assert trained_lengths(SimpleNamespace(loss=Mnrl())) == []


def test_models_of_one_name_are_told_apart() -> None:
    models = [TinyModel(), TinyModel(seed=1), TinyModel(name="bm25")]
    assert list(further_models(SimpleNamespace(models=models))) == ["tiny", "tiny #2", "bm25 #2"]
    assert further_models(SimpleNamespace()) == {}


def test_a_cross_encoder_with_several_outputs_is_refused(tmp_path: Path) -> None:
    folder = save_cross_encoder(tmp_path / "cross", outputs=3)
    with pytest.raises(ModelError, match=r"gives 3 numbers for a pair: choose a cross-encoder"):
        CrossEncoderScorer(model=str(folder)).scores([("a", "b")], EmbeddingCache(tmp_path / "cache"))


def test_scores_of_pairs_are_kept(tmp_path: Path) -> None:
    folder, cache = save_cross_encoder(tmp_path / "cross"), EmbeddingCache(tmp_path / "cache")
    first = CrossEncoderScorer(model=str(folder)).scores(
        [("a", "kettle"), ("a", "bicycle"), ("a", "kettle")], cache
    )
    again = CrossEncoderScorer(model=str(folder)).scores([("a", "bicycle"), ("b", "garden")], cache)
    assert first.vectors.shape == (3, 1)
    assert first.vectors[0] == first.vectors[2] != first.vectors[1]
    assert (first.known, again.known) == (0, 1)
    assert again.vectors[0] == first.vectors[1]
