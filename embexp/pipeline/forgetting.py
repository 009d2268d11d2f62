"""What a model knew before: a general retrieval set, asked before and after tuning."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from embexp.benchmarking.benchmark import Benchmark
from embexp.benchmarking.forgetting import Forgetting
from embexp.benchmarking.held_out import fewer_chunks
from embexp.benchmarking.metrics import DEFAULT_METRICS, evaluate, run_system
from embexp.benchmarking.statistics.comparison import Comparison, compare
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Unit
from embexp.errors import DataError
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.models.sources import ModelSource
from embexp.pipeline.benchmark import task_digest
from embexp.pipeline.experiment import Experiment
from embexp.retrieval.exact import ExactRetriever
from embexp.tracking.tracker import TrackedRun

log = logging.getLogger(__name__)


GUARD_QUESTIONS, GUARD_DISTRACTORS = 100, 500
"""The guard is asked at each dev evaluation: enough to see a loss of some hundredths, few to embed."""
FEWEST = 4


@dataclass(frozen=True)
class GeneralSet:
    """One general set in two parts that share no judged document.

    ``guard`` is asked while training and bounds what may be delivered; ``final`` is asked once, at the end.
    """

    guard: RetrievalTask
    final: RetrievalTask


def general_set(benchmark: Benchmark, *, unit: Unit, seed: int) -> GeneralSet:
    """Read the set that ``benchmark@forgetting`` names, and cut it in two by its judged documents.

    Raises:
        DataError: The set holds too few questions.
    """
    task = benchmark.task((), (), unit=unit)
    clusters = sorted({query.cluster for query in task.queries})
    if len(clusters) < FEWEST:
        raise DataError(
            f"The forgetting set {task.name} asks about {len(clusters)} documents: give one with questions "
            f"about {FEWEST} or more; one half bounds what is delivered, the other is asked in the end."
        )
    random.Random(seed).shuffle(clusters)
    guarded = set(clusters[: len(clusters) // 2])
    guard = [query for query in task.queries if query.cluster in guarded]
    final = [query for query in task.queries if query.cluster not in guarded]
    guard = random.Random(seed).sample(guard, min(GUARD_QUESTIONS, len(guard)))
    smaller = _asking(task, guard)
    judged = {unit for grades in smaller.qrels.values() for unit in grades}
    corpus = fewer_chunks(task.corpus, judged, most=GUARD_DISTRACTORS, seed=seed)
    return GeneralSet(guard=replace(smaller, corpus=corpus), final=_asking(task, final))


def _asking(task: RetrievalTask, queries: Sequence[Query]) -> RetrievalTask:
    return replace(task, queries=queries, qrels={query.id: task.qrels[query.id] for query in queries})


def forgetting(experiment: Experiment, tuned: ModelSource | None, run: TrackedRun) -> Forgetting | None:
    """Ask both models the general set's final questions, unless an earlier run has asked the very same.

    Args:
        experiment: The components; ``forgetting`` names the set.
        tuned: The tuned model; without one there is nothing to compare.
        run: Where the scores are logged.

    Returns:
        The scores and their comparison; None where no set or no tuned model is configured.
    """
    if experiment.forgetting is None or tuned is None:
        return None
    task = general_set(experiment.forgetting, unit=experiment.dataset.unit, seed=experiment.seed).final
    sources = {"untuned": experiment.model, "tuned": tuned}
    prints = [source.fingerprint() for source in sources.values()]
    inputs = (task_digest(task), prints, experiment.metric, experiment.seed)
    with experiment.stages.stage("forgetting", *inputs) as stage:
        if stage.done is None:
            found = _ask(experiment, task, sources)
            stage.finish(asdict(found))
        else:
            found = Forgetting(
                **{**stage.done, "comparison": Comparison.from_record(stage.done["comparison"])}
            )
    for name, means in found.scores.items():
        params = {"system": name, "task": found.task}
        with run.child(f"forgetting {name}", params=params, tags={"stage": "forgetting"}) as child:
            child.log_metrics(means)
    return found


def _ask(experiment: Experiment, task: RetrievalTask, sources: Mapping[str, ModelSource]) -> Forgetting:
    cache = EmbeddingCache(experiment.cache / "embeddings")
    metrics = list(dict.fromkeys((*DEFAULT_METRICS, experiment.metric)))
    scores = {}
    for name, source in sources.items():
        index = ExactRetriever().index(task.corpus, SourceEmbedder(source, cache), path=experiment.cache)
        scores[name] = evaluate(task, run_system(task, index), system=name, metrics=metrics)
    clusters = {query.id: query.cluster for query in task.queries}
    comparison = compare(
        scores["untuned"], scores["tuned"], metric=experiment.metric, clusters=clusters, seed=experiment.seed
    )
    log.info("Forgetting: %s on %s changed by %+.4f.", experiment.metric, task.name, comparison.delta)
    return Forgetting(
        task=task.name, scores={name: found.mean for name, found in scores.items()}, comparison=comparison
    )
