"""Rankings and costs of single systems, without a run around them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embexp.benchmarking.benchmark import BenchmarkOptions
from embexp.benchmarking.systems import (
    SystemCost,
    SystemResult,
    _further_models,
    _reranked,
    _search_exactly,
    search_systems,
)
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.models.embedding_cache import EmbeddingCache, Fetched
from embexp.models.encoder import SourceEmbedder
from embexp.models.tiny import TinyModel
from embexp.retrieval.index import Hit

COST = SystemCost(embed_seconds=4.0, query_seconds=0.5, index_bytes=800, dimension=2)


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
    task = RetrievalTask("t", corpus, [Query("q", "x", "c")], {}, "document", own={"q": frozenset("q")})
    base = SystemResult({"q": [Hit("b", 0.9), Hit("c", 0.8)]}, COST)
    passages = {"q": [Hit(name, 1.0) for name in ("q0", "b0", "c0")]}
    found = _reranked(task, base, passages, FixedReranker(), EmbeddingCache(tmp_path))
    assert [hit.id for hit in found.rankings["q"]] == ["c", "b"]


def test_times_are_those_of_the_first_embedding_when_vectors_come_from_the_cache(tmp_path: Path) -> None:
    corpus = [Chunk(f"c{at}", f"c{at}", f"the kettle number {at} boils") for at in range(40)]
    task = RetrievalTask("t", corpus, [Query("q", "which kettle", "c1")], {"q": {"c1": 1}}, "document")
    cache = EmbeddingCache(tmp_path)
    first = _search_exactly(task, SourceEmbedder(TinyModel(), cache), tmp_path)
    again = _search_exactly(task, SourceEmbedder(TinyModel(), cache), tmp_path)
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
    asked = BenchmarkOptions(systems=["int8", "dimensions=32"])
    found = search_systems(task, asked, embedders, cache, tmp_path, lengths=[128, 64, 32, 16])
    # The model's vectors have 64 numbers: 128 there are not, and 64 is the tuned model itself.
    shorter = ["tuned int8", "tuned dimensions=32", "tuned dimensions=16"]
    assert list(found) == ["untuned", "tuned", "bm25", "hybrid", "retriever", *shorter]
    assert [found[name].cost.dimension for name in shorter] == [64, 32, 16]


def test_models_of_one_name_are_told_apart() -> None:
    models = [TinyModel(), TinyModel(seed=1), TinyModel(name="bm25")]
    assert list(_further_models(BenchmarkOptions(models=models))) == ["tiny", "tiny #2", "bm25 #2"]
    assert _further_models(BenchmarkOptions()) == {}
