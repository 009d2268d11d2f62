"""The held-out questions, asked of every system; what comes back is scored and compared."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from embexp import __version__
from embexp.benchmarking.approximate import compare_with_exact
from embexp.benchmarking.compact import CompactEmbedder
from embexp.benchmarking.compare import compare
from embexp.benchmarking.metrics import DEFAULT_METRICS, evaluate, run_system
from embexp.models.embedding_cache import EmbeddingCache
from embexp.pipeline.embedding import SourceEmbedder
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.splits import Data
from embexp.protocols import Embedder, ModelSource, Retriever, TrackedRun
from embexp.reporting.scores import read_scores, write_scores
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import fuse
from embexp.storage.files import copy_folder, write_json
from embexp.types import Comparison, Hit, IndexReport, RetrievalTask, Scores

log = logging.getLogger(__name__)
Rankings = Mapping[str, Sequence[Hit]]
DEPTH = 100
KEPT = 10
"""Hits per question that are kept for the report's examples."""


@dataclass(frozen=True)
class Results:
    """Each system's scores and first hits, the comparison, and how the approximate index did."""

    task: RetrievalTask
    scores: Mapping[str, Scores]
    rankings: Mapping[str, Rankings]
    seconds: Mapping[str, float]
    comparison: Comparison | None
    index: IndexReport | None
    cached: bool = False


def benchmark(
    experiment: Experiment, data: Data, tuned: ModelSource | None, run: TrackedRun, out_dir: Path
) -> Results:
    """Score untuned, tuned, BM25 and their hybrid on the test questions, and index for search.

    ``out_dir/index`` then holds the retriever's index of the untuned and the tuned model. Without a
    tuned model there is no comparison.
    """
    task = experiment.benchmark.task(data.chunks, data.splits.test, unit=experiment.dataset.unit)
    settings = {name: experiment.settings[name] for name in ("benchmark", "retriever")}
    sources = {"untuned": experiment.model, **({"tuned": tuned} if tuned else {})}
    prints = [source.fingerprint() for source in sources.values()]
    inputs = (__version__, data.key, prints, settings, experiment.metric, experiment.seed)
    with experiment.stages.stage("benchmark", *inputs) as stage:
        if stage.done is None:
            results = measure(experiment, data, task, sources, stage.folder)
            _save(results, stage.folder)
            stage.finish({})
        results = _load(task, stage.folder, cached=stage.done is not None)
        if (stage.folder / "index").is_dir():
            copy_folder(stage.folder / "index", out_dir / "index")
    _log_systems(run, results)
    return results


def measure(
    experiment: Experiment,
    data: Data,
    task: RetrievalTask,
    sources: Mapping[str, ModelSource],
    folder: Path,
) -> Results:
    """Search with every system and score what it found; exact search alone scores the models."""
    cache = EmbeddingCache(experiment.cache / "embeddings")
    embedders = {name: SourceEmbedder(source, cache) for name, source in sources.items()}
    rankings: dict[str, Rankings] = {}
    seconds: dict[str, float] = {}
    for name, embedder in embedders.items():
        rankings[name], seconds[name] = _timed_search(task, ExactRetriever(), embedder, folder)
    last = list(embedders)[-1]  # the tuned model, where there is one
    best = embedders[last]
    rankings["bm25"], seconds["bm25"] = _timed_search(task, Bm25Retriever(), best, folder)
    rankings["hybrid"] = {
        query: fuse([rankings[last][query], hits], k=DEPTH) for query, hits in rankings["bm25"].items()
    }
    seconds["hybrid"] = seconds[last] + seconds["bm25"]
    for form in getattr(experiment.benchmark, "systems", ()):  # a benchmark of a user's own may lack them
        found = _timed_search(task, ExactRetriever(), CompactEmbedder(best, form), folder)
        rankings[f"{last} {form}"], seconds[f"{last} {form}"] = found
    metrics = list(dict.fromkeys((*DEFAULT_METRICS, experiment.metric)))
    scores = {name: evaluate(task, found, system=name, metrics=metrics) for name, found in rankings.items()}
    return Results(
        task=task,
        scores=scores,
        rankings=rankings,
        seconds=seconds,
        comparison=_compare(experiment, task, scores),
        index=_index_for_search(experiment, data, task, embedders, folder / "index"),
    )


def _timed_search(
    task: RetrievalTask, retriever: Retriever, embedder: Embedder, folder: Path
) -> tuple[Rankings, float]:
    start = time.monotonic()
    found = run_system(task, retriever.index(task.corpus, embedder, path=folder), k=DEPTH)
    return found, time.monotonic() - start


def _compare(experiment: Experiment, task: RetrievalTask, scores: Mapping[str, Scores]) -> Comparison | None:
    if "tuned" not in scores:
        return None
    clusters = {query.id: query.cluster for query in task.queries}
    return compare(
        scores["untuned"], scores["tuned"], metric=experiment.metric, clusters=clusters, seed=experiment.seed
    )


def _index_for_search(
    experiment: Experiment,
    data: Data,
    task: RetrievalTask,
    embedders: Mapping[str, Embedder],
    path: Path,
) -> IndexReport | None:
    """Index every chunk as it is (no question cut out), for each model; compare the last with exact search.

    Only an index that approximates exact search is compared: BM25 or a hybrid finds other things on purpose.
    """
    for embedder in embedders.values():
        start = time.monotonic()
        index = experiment.retriever.index(data.chunks, embedder, path=path)
        seconds = time.monotonic() - start
    if not getattr(experiment.retriever, "approximate", False):
        return None
    exact = ExactRetriever().index(data.chunks, embedder, path=path)  # of the last model, the tuned one
    queries = [query.text for query in task.queries]
    name = experiment.names["retriever"]
    return compare_with_exact(index, exact, queries, k=10, retriever=name, build_seconds=seconds)


def _save(results: Results, folder: Path) -> None:
    write_scores(folder / "scores.parquet", results.scores.values())
    kept = {
        system: {query: [asdict(hit) for hit in hits[:KEPT]] for query, hits in found.items()}
        for system, found in results.rankings.items()
    }
    record = {
        "rankings": kept,
        "seconds": results.seconds,
        "comparison": asdict(results.comparison) if results.comparison else None,
        "index": asdict(results.index) if results.index else None,
    }
    write_json(folder / "results.json", record)


def _load(task: RetrievalTask, folder: Path, *, cached: bool) -> Results:
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    comparison = record["comparison"]
    if comparison:
        comparison = Comparison(**{**comparison, "interval": tuple(comparison["interval"])})
    return Results(
        task=task,
        scores={scores.system: scores for scores in read_scores(folder / "scores.parquet")},
        rankings={
            system: {query: [Hit(**hit) for hit in hits] for query, hits in found.items()}
            for system, found in record["rankings"].items()
        },
        seconds=record["seconds"],
        comparison=comparison,
        index=IndexReport(**record["index"]) if record["index"] else None,
        cached=cached,
    )


def _log_systems(run: TrackedRun, results: Results) -> None:
    for name, scores in results.scores.items():
        with run.child(f"benchmark {name}", params={"system": name}, tags={"stage": "benchmark"}) as child:
            child.log_metrics({**scores.mean, "seconds": results.seconds[name]})
