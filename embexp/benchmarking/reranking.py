"""What a cross-encoder after each model is worth, and whether tuning still pays with one after the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from embexp.benchmarking.benchmark import Benchmark
from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.comparison import Comparison, compare
from embexp.benchmarking.systems import TUNED, UNTUNED, reranked


@dataclass(frozen=True, slots=True)
class Reranking:
    """A reranker after each model, in paired comparisons on the test questions.

    Attributes:
        reranker: The cross-encoder's folder, or its name on the Hub.
        depth: How many passages of each question it reads.
        untuned: The untuned model with the reranker minus the untuned model alone.
        tuned: The tuned model with the reranker minus the tuned model alone; None without a tuned model, as
            are all below.
        comparison: The tuned model minus the untuned one, each with the reranker.
        instead_of_tuning: The untuned model with the reranker minus the tuned model alone.
        in_all: The tuned model with the reranker minus the untuned model alone.
    """

    reranker: str
    depth: int
    untuned: Comparison
    tuned: Comparison | None = None
    comparison: Comparison | None = None
    instead_of_tuning: Comparison | None = None
    in_all: Comparison | None = None


def compare_reranking(
    benchmark: Benchmark,
    scores: Mapping[str, Scores],
    *,
    metric: str,
    clusters: Mapping[str, str],
    seed: int = 0,
) -> Reranking | None:
    """Compare the models with and without the reranker; None where none is configured.

    Args:
        benchmark: Names the reranker.
        scores: System -> scores, as ``search_systems`` names the systems.
        metric: The metric to compare.
        clusters: Query id -> source document.
        seed: Seeds the resampling.
    """
    if benchmark.reranker is None:
        return None

    def difference(base: str, other: str) -> Comparison:
        return compare(scores[base], scores[other], metric=metric, clusters=clusters, seed=seed)

    tuned = TUNED in scores
    return Reranking(
        reranker=benchmark.reranker,
        depth=benchmark.rerank_depth,
        untuned=difference(UNTUNED, reranked(UNTUNED)),
        tuned=difference(TUNED, reranked(TUNED)) if tuned else None,
        comparison=difference(reranked(UNTUNED), reranked(TUNED)) if tuned else None,
        instead_of_tuning=difference(TUNED, reranked(UNTUNED)) if tuned else None,
        in_all=difference(UNTUNED, reranked(TUNED)) if tuned else None,
    )
