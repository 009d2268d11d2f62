"""The held-out questions, asked of every system; what comes back is scored and compared."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from embexp.benchmarking.approximate import IndexReport, compare_with_exact
from embexp.benchmarking.benchmark import Checked
from embexp.benchmarking.embedding_map import EmbeddingMap, draw_map, map_from
from embexp.benchmarking.judging import Judging
from embexp.benchmarking.metrics import DEFAULT_METRICS, Scores, evaluate
from embexp.benchmarking.repeats import scoring_settings
from embexp.benchmarking.score_files import read_scores, write_judgments, write_scores
from embexp.benchmarking.statistics.comparison import Comparison, compare
from embexp.benchmarking.systems import Rankings, SystemCost, further_inputs, search_systems
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import Embedder, SourceEmbedder
from embexp.models.sources import ModelSource
from embexp.pipeline.data import Data
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.judging import judge, judging_inputs
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.index import Hit
from embexp.storage.files import copy_folder, sha256_of, write_json
from embexp.tracking.tracker import TrackedRun

log = logging.getLogger(__name__)


KEPT = 10
"""Hits per question that are kept for the report's examples."""


@dataclass(frozen=True)
class Results:
    """Each system's scores, first hits and costs, the comparison, and how the approximate index did."""

    task: RetrievalTask
    scores: Mapping[str, Scores]
    rankings: Mapping[str, Rankings]
    costs: Mapping[str, SystemCost]
    comparison: Comparison | None
    index: IndexReport | None
    map: EmbeddingMap | None = None
    judging: Judging | None = None
    cached: bool = False


def benchmark(
    experiment: Experiment, data: Data, tuned: ModelSource | None, run: TrackedRun, out_dir: Path
) -> Results:
    """Score untuned, tuned, BM25, their hybrid and further systems, and index for search.

    ``out_dir/index`` then holds the retriever's index of the untuned and the tuned model. Without a
    tuned model there is no comparison.
    """
    task = experiment.benchmark.task(
        data.chunks,
        data.splits.test,
        unit=experiment.dataset.unit,
        scale=data.splits.label_scale(),
    )
    _warn_of_known_documents(task, data)
    settings = {
        "benchmark": scoring_settings(experiment.settings["benchmark"]),
        "retriever": experiment.settings["retriever"],
    }
    sources = {"untuned": experiment.model, **({"tuned": tuned} if tuned else {})}
    prints = [source.fingerprint() for source in sources.values()]
    prints += further_inputs(experiment.benchmark)
    lengths = trained_lengths(experiment) if tuned else []
    asked = (task_digest(task), *judging_inputs(experiment, task))
    inputs = (data.key, asked, prints, settings, lengths, experiment.metric, experiment.seed)
    with experiment.stages.stage("benchmark", *inputs) as stage:
        if stage.done is None:
            results = measure(experiment, data, task, sources, stage.folder)
            _save(results, stage.folder)
            stage.finish({})
        results = _load(task, stage.folder, cached=stage.done is not None)
        if (stage.folder / "index").is_dir():
            copy_folder(stage.folder / "index", out_dir / "index")
    _log_systems(run, results)
    if results.judging:
        write_judgments(out_dir / "judgments.jsonl", results.task)
        run.log_artifact(out_dir / "judgments.jsonl")
    return results


def trained_lengths(experiment: Experiment) -> list[int]:
    """Return the vector lengths that the loss trains beside the model's own (``loss=matryoshka``)."""
    return sorted(getattr(experiment.loss, "dims", ()), reverse=True)


def check_benchmark(experiment: Experiment, data: Data) -> None:
    """Have the benchmark say, before anything is trained, what would keep it from scoring the result.

    Raises:
        DataError: Its questions cannot be used.
        ConfigError: They need judgments, and there is no language model.
    """
    if isinstance(experiment.benchmark, Checked):
        experiment.benchmark.check(data.chunks, judge=experiment.llm is not None)


def task_digest(task: RetrievalTask) -> str:
    """Return a digest of what is asked of which corpus."""
    corpus = sha256_of([(chunk.id, chunk.document_id, chunk.passage) for chunk in task.corpus])
    return sha256_of(corpus, [(query.id, query.text) for query in task.queries], task.qrels, task.unit)


def _warn_of_known_documents(task: RetrievalTask, data: Data) -> None:
    """Say how many questions ask about documents that training drew on, unless the leak audit does."""
    trained = {pair.document_id for pair in data.splits.train}
    known = sum(query.cluster in trained for query in task.queries)
    if known and not data.leaks.documents:
        log.warning(
            "%s of %s questions ask about documents that training pairs come from: they show how the tuned "
            "model does on documents that it knows, not on new ones.",
            f"{known:,}", f"{len(task.queries):,}",
        )  # fmt: skip


def measure(
    experiment: Experiment,
    data: Data,
    task: RetrievalTask,
    sources: Mapping[str, ModelSource],
    folder: Path,
) -> Results:
    """Search with every system and score what it found."""
    cache = EmbeddingCache(experiment.cache / "embeddings")
    embedders = {name: SourceEmbedder(source, cache) for name, source in sources.items()}
    lengths = trained_lengths(experiment) if "tuned" in sources else []
    found = search_systems(task, experiment.benchmark, embedders, cache, folder, lengths=lengths)
    judging = None
    if task.judge_depth is not None:
        task, judging = judge(experiment, task, {name: each.rankings for name, each in found.items()})
    metrics = list(dict.fromkeys((*DEFAULT_METRICS, experiment.metric)))
    scores = {
        name: evaluate(task, each.rankings, system=name, metrics=metrics) for name, each in found.items()
    }
    return Results(
        task=task,
        scores=scores,
        rankings={name: each.rankings for name, each in found.items()},
        costs={name: each.cost for name, each in found.items()},
        comparison=_compare(experiment, task, scores),
        index=_index_for_search(experiment, data, task, embedders, folder / "index"),
        map=_map(experiment, task, embedders, scores),
        judging=judging,
    )


def _map(
    experiment: Experiment,
    task: RetrievalTask,
    embedders: Mapping[str, Embedder],
    scores: Mapping[str, Scores],
) -> EmbeddingMap | None:
    if "tuned" not in embedders:
        return None
    untuned, tuned = embedders["untuned"], embedders["tuned"]
    return draw_map(task, untuned, tuned, scores, metric=experiment.metric, seed=experiment.seed)


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
    if not experiment.retriever.approximate:
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
    record: dict[str, object] = {
        "rankings": kept,
        "costs": {system: asdict(cost) for system, cost in results.costs.items()},
        "comparison": asdict(results.comparison) if results.comparison else None,
        "index": asdict(results.index) if results.index else None,
        "map": asdict(results.map) if results.map else None,
        "judging": asdict(results.judging) if results.judging else None,
    }
    if results.judging:  # else the task follows from its own files
        record["queries"] = [asdict(query) for query in results.task.queries]
        record["qrels"] = results.task.qrels
    write_json(folder / "results.json", record)


def _load(task: RetrievalTask, folder: Path, *, cached: bool) -> Results:
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    if record["judging"]:
        queries = [Query(**query) for query in record["queries"]]
        task = replace(task, queries=queries, qrels=record["qrels"], judge_depth=None)
    comparison = record["comparison"] and Comparison.from_record(record["comparison"])
    return Results(
        task=task,
        scores={scores.system: scores for scores in read_scores(folder / "scores.parquet")},
        rankings={
            system: {query: [Hit(**hit) for hit in hits] for query, hits in found.items()}
            for system, found in record["rankings"].items()
        },
        costs={system: SystemCost(**cost) for system, cost in record["costs"].items()},
        comparison=comparison,
        index=IndexReport(**record["index"]) if record["index"] else None,
        map=map_from(record["map"]) if record["map"] else None,
        judging=Judging(**record["judging"]) if record["judging"] else None,
        cached=cached,
    )


def _log_systems(run: TrackedRun, results: Results) -> None:
    for name, scores in results.scores.items():
        with run.child(f"benchmark {name}", params={"system": name}, tags={"stage": "benchmark"}) as child:
            costs = {key: float(value) for key, value in asdict(results.costs[name]).items() if value}
            child.log_metrics({**scores.mean, **costs})
