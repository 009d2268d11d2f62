"""The benchmark stage: every system is searched and scored on the test questions, once, and compared."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from embexp.benchmarking.approximate import IndexReport, compare_with_exact
from embexp.benchmarking.benchmark import scoring_settings
from embexp.benchmarking.embedding_map import EmbeddingMap, draw_map
from embexp.benchmarking.forgetting import Forgetting
from embexp.benchmarking.held_out import HeldOut
from embexp.benchmarking.judging import Judging, judge, judging_inputs
from embexp.benchmarking.metrics import Rankings, Scores, cutoff_of, evaluate, with_defaults
from embexp.benchmarking.mteb import SuiteScore
from embexp.benchmarking.reranking import Reranking, compare_reranking
from embexp.benchmarking.retriever_choice import RetrieverChoice, ServedRetriever
from embexp.benchmarking.score_files import read_scores, write_judgments, write_scores
from embexp.benchmarking.seen_documents import AskedQuestions, asked_questions
from embexp.benchmarking.statistics.comparison import Comparison, compare
from embexp.benchmarking.systems import (
    RETRIEVER,
    TUNED,
    UNTUNED,
    SystemCost,
    further_fingerprints,
    search_systems,
)
from embexp.benchmarking.task import RetrievalTask
from embexp.benchmarking.thresholds import ScoreThreshold
from embexp.data.truncation import Truncation
from embexp.models.encoder import Embedder, SourceEmbedder
from embexp.models.sources import ModelSource
from embexp.pipeline.data import Data
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.forgetting import forgetting, suite_scores
from embexp.pipeline.retriever import choose_served, served_retriever
from embexp.pipeline.synthesize import language_model
from embexp.pipeline.thresholds import score_threshold
from embexp.pipeline.translations import TRANSLATIONS, word_translations
from embexp.pipeline.truncation import benchmark_truncation
from embexp.pipeline.unread_language import warn_of_unread_language
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.serving import follow_models, word_retriever
from embexp.storage.files import atomic_write, copy_folder, remove_folder
from embexp.tracking.tracker import TrackedRun, log_system
from embexp.user_code import identity

log = logging.getLogger(__name__)

T = TypeVar("T")
SCORES, RESULTS, INDEX = "scores.parquet", "results.json", "index"
KEPT_HITS = 10
"""Hits per question that are kept for the report's examples."""


@dataclass(frozen=True)
class Results:
    """The outcome of the benchmark stage.

    Attributes:
        task: The test questions, with their judgments.
        scores: System -> scores.
        rankings: System -> the first hits of each question.
        costs: System -> its cost.
        comparison: Tuned minus untuned; None without a tuned model.
        index: How an approximate index compares with exact search; None for an exact one.
        map: A sample of texts as both models embed them.
        judging: The work of a language model as judge; None where judgments were given.
        forgetting: The scores on a general set.
        suite: The scores on MTEB tasks of any kind.
        retriever: The retriever to serve, with its scores and what it gains.
        reranking: What the reranker is worth after each model; None without one.
        asked: Which questions were asked, and how they divide into those about documents seen in training
            and others; None until the stage has ended.
        threshold: The score below which there is probably no answer; None until the stage has ended.
        truncation: What the models do not read of a benchmark's own texts, beside those of the data.
        cached: Whether the scores were taken from the cache.
    """

    task: RetrievalTask
    scores: Mapping[str, Scores]
    rankings: Mapping[str, Rankings]
    costs: Mapping[str, SystemCost]
    comparison: Comparison | None
    index: IndexReport | None
    map: EmbeddingMap | None = None
    judging: Judging | None = None
    forgetting: Forgetting | None = None
    suite: Sequence[SuiteScore] = ()
    retriever: ServedRetriever | None = None
    reranking: Reranking | None = None
    asked: AskedQuestions | None = None
    threshold: ScoreThreshold | None = None
    truncation: Mapping[str, Truncation] = field(default_factory=dict)
    cached: bool = False


def benchmark(
    experiment: Experiment, data: Data, tuned: ModelSource | None, run: TrackedRun, out_dir: Path
) -> Results:
    """Score untuned, tuned, BM25, their hybrid and further systems, and index the corpus for search.

    ``out_dir/index`` then holds the retriever's index of the untuned and the tuned model, and
    ``out_dir/translations.json`` the word translations if BM25 uses any. Without a tuned model there is no
    comparison.
    """
    task = experiment.benchmark.task(
        data.chunks, data.splits.test, unit=experiment.dataset.unit, scale=data.splits.label_scale()
    )
    sources = {UNTUNED: experiment.model, **({TUNED: tuned} if tuned else {})}
    if not isinstance(experiment.benchmark, HeldOut):
        warn_of_unread_language(experiment.model, [query.text for query in task.queries], data.splits.train)
    translations = word_translations(experiment, data)
    choice = choose_served(experiment, data, sources, translations)
    inputs = (
        *_inputs(experiment, data, task, sources),
        *(choice.model, choice.weight, choice.translated, choice.part_words, choice.part_share),
    )
    with experiment.stages.stage("benchmark", *inputs) as stage:
        results = stage.stored(lambda _: _read(task, stage.folder, cached=True))
        if results is None:
            measured = _measure(experiment, data, task, sources, choice, stage.folder, translations)
            _write(measured, stage.folder)
            index = [INDEX] if (stage.folder / INDEX).is_dir() else []
            stage.finish({}, SCORES, RESULTS, *index)
            results = _read(task, stage.folder, cached=False)
        _copy_index(experiment, sources, stage.folder, out_dir, cached=results.cached)
    for name, scores in results.scores.items():
        costs = {key: float(value) for key, value in asdict(results.costs[name]).items() if value}
        log_system(run, "benchmark", name, {**scores.mean, **costs})
    _write_files(results, translations if choice.translated else None, run, out_dir)
    general, suite = forgetting(experiment, tuned, run), suite_scores(experiment, tuned, run)
    return replace(
        results,
        scores=_systems_only(results.scores),
        rankings=_systems_only(results.rankings),
        costs=_systems_only(results.costs),
        retriever=served_retriever(experiment, choice, results.scores, results.task.clusters),
        reranking=compare_reranking(
            experiment.benchmark,
            results.scores,
            metric=experiment.metric,
            clusters=results.task.clusters,
            seed=experiment.seed,
        ),
        asked=_asked(experiment, data, results),
        threshold=score_threshold(experiment, data, sources),
        truncation=benchmark_truncation(experiment, task, experiment.tuned),
        forgetting=general,
        suite=suite,
    )


def _copy_index(
    experiment: Experiment, sources: Mapping[str, ModelSource], stage: Path, out_dir: Path, *, cached: bool
) -> None:
    """Copy a stage's index, if any, into the run's folder; a cached one then names the models of this run."""
    if not (stage / INDEX).is_dir():
        return
    copy_folder(stage / INDEX, out_dir / INDEX)
    if cached:
        embedders = _named_embedders(experiment, sources).values()
        follow_models(experiment.retriever, embedders, out_dir / INDEX)


def _write_files(results: Results, translations: Path | None, run: TrackedRun, out_dir: Path) -> None:
    """Write and log the word translations that BM25 uses, and the judgments, where there are any."""
    if translations is not None:
        with atomic_write(out_dir / TRANSLATIONS, "wb") as stream:
            stream.write(translations.read_bytes())
        run.log_artifact(out_dir / TRANSLATIONS)
    if results.judging:
        write_judgments(out_dir / "judgments.jsonl", results.task)
        run.log_artifact(out_dir / "judgments.jsonl")


def _systems_only(results: Mapping[str, T]) -> dict[str, T]:
    """Leave out the chosen retriever, which is one of the systems under another name, or near one."""
    return {name: result for name, result in results.items() if name != RETRIEVER}


def _inputs(
    experiment: Experiment, data: Data, task: RetrievalTask, sources: Mapping[str, ModelSource]
) -> tuple[object, ...]:
    settings = {
        "benchmark": scoring_settings(experiment.settings["benchmark"]),
        "retriever": experiment.settings["retriever"],
        "bm25": word_retriever(experiment.retriever).fingerprint(),
    }
    models = [identity(source) for source in sources.values()]
    models += further_fingerprints(experiment.benchmark)
    asked = (task.fingerprint(), *judging_inputs(task, experiment.llm))
    lengths = _trained_lengths(experiment) if TUNED in sources else []
    return data.key, asked, models, settings, lengths, experiment.metric, experiment.seed


def _trained_lengths(experiment: Experiment) -> list[int]:
    """Return the vector lengths that the loss trains beside the model's own (``loss=matryoshka``)."""
    return sorted(experiment.loss.dims, reverse=True)


def _asked(experiment: Experiment, data: Data, results: Results) -> AskedQuestions:
    """Score the questions about documents that training pairs come from apart, and warn of them."""
    asked = asked_questions(
        results.task,
        data.chunks,
        data.splits,
        _systems_only(results.scores),
        models=(UNTUNED, TUNED),
        metric=experiment.metric,
        seed=experiment.seed,
    )
    if asked.seen:
        log.warning(
            "%s of %s questions ask about documents that training pairs come from: they show how the tuned "
            "model performs on documents that it has seen, not on new ones. Each kind is scored separately.",
            *(f"{asked.seen.queries:,}", f"{asked.total:,}"),
        )
    if asked.trained_on:
        log.warning(
            "Training pairs ask %s of the %s questions, or nearly the same: their scores say little. Take "
            "them out of the training pairs, or out of the benchmark.",
            *(f"{asked.trained_on:,}", f"{asked.total:,}"),
        )
    return asked


def _measure(
    experiment: Experiment,
    data: Data,
    task: RetrievalTask,
    sources: Mapping[str, ModelSource],
    choice: RetrieverChoice,
    folder: Path,
    translations: Path | None,
) -> Results:
    """Search with every system, score the rankings and compare the models."""
    cache, metric, seed = experiment.embeddings, experiment.metric, experiment.seed
    embedders = _named_embedders(experiment, sources)
    lengths = _trained_lengths(experiment) if TUNED in sources else []
    systems = search_systems(
        task,
        experiment.benchmark,
        embedders,
        cache,
        folder,
        lengths=lengths,
        retriever=choice,
        words=word_retriever(experiment.retriever),
        translations=translations,
        cutoff=cutoff_of(metric),
    )
    rankings = {name: each.rankings for name, each in systems.items()}
    judging = None
    if task.judge_depth is not None:
        llm = language_model(experiment)
        task, judging = judge(task, rankings, source=experiment.llm, llm=llm)
    metrics = with_defaults(metric)
    scores = {name: evaluate(task, found, system=name, metrics=metrics) for name, found in rankings.items()}
    comparison = embedding_map = None
    if TUNED in sources:
        comparison = compare(scores[UNTUNED], scores[TUNED], metric=metric, clusters=task.clusters, seed=seed)
        embedding_map = draw_map(task, embedders[UNTUNED], embedders[TUNED], scores, metric=metric, seed=seed)
    return Results(
        task=task,
        scores=scores,
        rankings=rankings,
        costs={name: each.cost for name, each in systems.items()},
        comparison=comparison,
        index=_index_for_search(experiment, data, task, embedders, folder / INDEX),
        map=embedding_map,
        judging=judging,
    )


def _named_embedders(experiment: Experiment, sources: Mapping[str, ModelSource]) -> dict[str, SourceEmbedder]:
    """Return an embedder of each system, named after the system and the data set."""
    return {
        system: SourceEmbedder(
            source, experiment.embeddings, name=f"{system} {experiment.dataset.name}", bf16=True
        )
        for system, source in sources.items()
    }


def _index_for_search(
    experiment: Experiment,
    data: Data,
    task: RetrievalTask,
    embedders: Mapping[str, Embedder],
    path: Path,
) -> IndexReport | None:
    """Index all chunks with each model, cut-out questions included; compare the last with exact search.

    Only an index that approximates exact search is compared: BM25 or a hybrid differs on purpose.
    """
    remove_folder(path)  # what an interrupted run left has no checksums; its vectors are cached
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


def _write(results: Results, folder: Path) -> None:
    """Write scores.parquet, and the rest to results.json but for the corpus, which has files of its own."""
    write_scores(folder / SCORES, results.scores.values())
    first_hits = {
        system: {query: hits[:KEPT_HITS] for query, hits in rankings.items()}
        for system, rankings in results.rankings.items()
    }
    record = TypeAdapter(Results).dump_json(
        replace(results, rankings=first_hits), exclude={"scores": True, "task": {"corpus"}}
    )
    with atomic_write(folder / RESULTS, "wb") as stream:
        stream.write(record)


def _read(task: RetrievalTask, folder: Path, *, cached: bool) -> Results:
    record = json.loads((folder / RESULTS).read_bytes())
    return TypeAdapter(Results).validate_python(
        {
            **record,
            "task": {**record["task"], "corpus": task.corpus},
            "scores": {scores.system: scores for scores in read_scores(folder / SCORES)},
            "cached": cached,
        }
    )
