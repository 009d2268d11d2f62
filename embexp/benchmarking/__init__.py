"""Retrieval tasks, trec_eval's metrics on them, and whether a difference between two systems is real."""

from __future__ import annotations

from embexp.benchmarking.approximate import IndexReport, compare_with_exact
from embexp.benchmarking.beir import BeirTask
from embexp.benchmarking.benchmark import Benchmark, BenchmarkOptions
from embexp.benchmarking.examples import Example, biggest_changes
from embexp.benchmarking.held_out import HeldOut
from embexp.benchmarking.metrics import DEFAULT_METRICS, Scores, evaluate, retrieve
from embexp.benchmarking.mteb import MtebSuite, MtebTask
from embexp.benchmarking.queries import OwnQueries
from embexp.benchmarking.score_files import read_scores, write_scores
from embexp.benchmarking.slices import Slice, changed_documents, slices
from embexp.benchmarking.statistics import Comparison, Contrast, compare, contrasts
from embexp.benchmarking.systems import SystemCost, score_embedder
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.benchmarking.thresholds import ScoreThreshold, measure_threshold

__all__ = [
    "DEFAULT_METRICS",
    "BeirTask",
    "Benchmark",
    "BenchmarkOptions",
    "Comparison",
    "Contrast",
    "Example",
    "HeldOut",
    "IndexReport",
    "MtebSuite",
    "MtebTask",
    "OwnQueries",
    "Query",
    "RetrievalTask",
    "ScoreThreshold",
    "Scores",
    "Slice",
    "SystemCost",
    "biggest_changes",
    "changed_documents",
    "compare",
    "compare_with_exact",
    "contrasts",
    "evaluate",
    "measure_threshold",
    "read_scores",
    "retrieve",
    "score_embedder",
    "slices",
    "write_scores",
]
