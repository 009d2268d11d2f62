"""What a reranker is worth after each model, compared on the same questions."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from embexp.benchmarking.benchmark import BenchmarkOptions
from embexp.benchmarking.metrics import Scores, evaluate
from embexp.benchmarking.reranking import compare_reranking
from embexp.benchmarking.systems import TUNED, UNTUNED, reranked, search_systems
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.models.tiny import TinyModel
from tests.tiny_cross_encoder import save_cross_encoder

METRIC = "ndcg@10"
QUESTIONS = [f"q{number}" for number in range(40)]
MEANS = {UNTUNED: 0.5, TUNED: 0.7, reranked(UNTUNED): 0.8, reranked(TUNED): 0.6}


def scored(system: str, mean: float) -> Scores:
    """Return scores around a mean, of 40 questions about as many documents."""
    per_query = {
        question: {METRIC: mean + 0.01 * (at % 3 - 1) * (1 + len(system) % 2)}
        for at, question in enumerate(QUESTIONS)
    }
    return Scores(system, {METRIC: sum(each[METRIC] for each in per_query.values()) / 40}, per_query)


def compared(reranker: str | None = "cross", *, without: str = "none"):
    scores = {name: scored(name, mean) for name, mean in MEANS.items() if not name.startswith(without)}
    options = BenchmarkOptions(reranker=reranker, rerank_depth=7)
    clusters = {question: question for question in QUESTIONS}
    return compare_reranking(options, scores, metric=METRIC, clusters=clusters)


@pytest.mark.parametrize(
    ("name", "delta", "verdict"),
    [
        ("untuned", 0.3, "WIN"),
        ("tuned", -0.1, "REGRESSION"),
        ("comparison", -0.2, "REGRESSION"),
        ("instead_of_tuning", 0.1, "WIN"),
        ("in_all", 0.1, "WIN"),
    ],
)
def test_each_comparison_has_its_sign_and_its_verdict(name: str, delta: float, verdict: str) -> None:
    reranking = compared()
    assert reranking is not None
    comparison = getattr(reranking, name)
    assert comparison.delta == pytest.approx(delta, abs=0.005)
    assert comparison.interval[0] <= comparison.delta <= comparison.interval[1]
    assert (comparison.verdict, comparison.queries, comparison.clusters) == (verdict, 40, 40)
    assert (reranking.reranker, reranking.depth) == ("cross", 7)


def test_without_a_tuned_model_the_untuned_one_alone_is_compared() -> None:
    reranking = compared(without=TUNED)
    assert reranking is not None
    assert reranking.untuned.better
    rest = (reranking.tuned, reranking.comparison, reranking.instead_of_tuning, reranking.in_all)
    assert rest == (None,) * 4


def test_without_a_reranker_there_is_nothing_to_compare() -> None:
    assert compared(None) is None


def test_the_first_hits_of_each_model_are_reranked(tmp_path: Path) -> None:
    """A tiny cross-encoder that is built here reads what each model finds, and a pair once."""
    corpus = [Chunk(f"c{at}", f"c{at}", f"the kettle number {at} boils on day {at * 7}") for at in range(30)]
    queries = [Query(f"q{at}", f"which kettle boils on day {at * 7}", f"c{at}") for at in range(12)]
    qrels = {query.id: {query.cluster: 1} for query in queries}
    task = RetrievalTask("t", corpus, queries, qrels, "document")
    cache = EmbeddingCache(tmp_path / "cache")
    embedders = {
        UNTUNED: SourceEmbedder(TinyModel(), cache),
        TUNED: SourceEmbedder(TinyModel(seed=1), cache),
    }
    cross = save_cross_encoder(tmp_path / "cross")
    options = BenchmarkOptions(reranker=str(cross), rerank_depth=30)
    results = search_systems(task, options, embedders, cache, tmp_path)
    assert [name for name in results if name.endswith("reranked")] == [reranked(UNTUNED), reranked(TUNED)]
    # Each reads all passages, so that both end with the order of the cross-encoder, however they began.
    scores = {
        name: evaluate(task, each.rankings, system=name, metrics=[METRIC]) for name, each in results.items()
    }
    assert scores[UNTUNED].mean != scores[TUNED].mean
    assert scores[reranked(UNTUNED)].per_query == scores[reranked(TUNED)].per_query
    assert scores[reranked(UNTUNED)].mean != scores[UNTUNED].mean
    assert results[reranked(TUNED)].cost.cached  # the pairs that the first one scored
    reranking = compare_reranking(options, scores, metric=METRIC, clusters=task.clusters)
    assert reranking is not None
    assert reranking.comparison is not None
    assert (reranking.comparison.delta, reranking.comparison.verdict) == (0.0, "NO EVIDENCE")


def test_a_benchmark_of_ones_own_may_name_the_reranker() -> None:
    own = SimpleNamespace(reranker="cross", rerank_depth=3)
    scores = {name: scored(name, mean) for name, mean in MEANS.items()}
    reranking = compare_reranking(own, scores, metric=METRIC, clusters={})  # type: ignore[arg-type]
    assert reranking is not None
    assert reranking.depth == 3
