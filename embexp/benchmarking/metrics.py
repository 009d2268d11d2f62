"""Searching a task with a system, and scoring the rankings with trec_eval's own code."""

from __future__ import annotations

import difflib
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from embexp.benchmarking.task import Query, RetrievalTask
from embexp.errors import ConfigError, DataError, RetrievalError
from embexp.progress import progress
from embexp.retrieval.index import Hit, Index

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scores:
    """One system's metrics on one task: the means, and query id -> metric -> value behind them.

    Metric names are ``ndcg@10``, ``mrr@10``, ``accuracy@1`` and the like, all in [0, 1].
    """

    system: str
    mean: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]


Rankings = Mapping[str, Sequence[Hit]]
"""Query id -> hits on units, best first."""

MAX_CUTOFF = 100
"""Hits of each question that are scored."""
MAIN_METRIC = "ndcg@10"
SUMMARY_METRICS = ("accuracy@1", "precision@10", "recall@10", "f1@10", "mrr@10", "ndcg@10", "map@100")
"""What a table of systems shows where there is little room."""
DEFAULT_METRICS = (
    *("accuracy@1", "accuracy@5", "accuracy@10", "precision@10", "recall@10", "recall@100"),
    *("f1@10", "mrr@10", "ndcg@10", "map@100"),
)


@dataclass(frozen=True)
class _Metric:
    """A metric made of trec_eval's measures.

    Args:
        measures: The measures that it needs, with ``{k}`` for the cutoff.
        meaning: What it says, in words for the report; k is the cutoff.
        value: Combines a question's measures, given the cutoff; the measure itself if left out.
    """

    measures: tuple[str, ...]
    meaning: str
    value: Callable[[Sequence[float], int], float] = lambda values, _: values[0]


def _harmonic_mean(values: Sequence[float], _: int) -> float:
    return 2 * values[0] * values[1] / sum(values) if sum(values) else 0.0


def _zero_beyond(values: Sequence[float], k: int) -> float:
    return values[0] if values[0] * k >= 1 - 1e-6 else 0.0


_METRICS = {
    "accuracy": _Metric(
        ("success_{k}",), "share of questions with at least one relevant result among the first k"
    ),
    "precision": _Metric(("P_{k}",), "share of the first k results that are relevant"),
    "recall": _Metric(("recall_{k}",), "share of the relevant passages that are among the first k results"),
    "f1": _Metric(("P_{k}", "recall_{k}"), "harmonic mean of precision and recall", _harmonic_mean),
    "mrr": _Metric(
        ("recip_rank",),
        "reciprocal rank of the first relevant result, averaged over the questions",
        _zero_beyond,
    ),
    "ndcg": _Metric(
        ("ndcg_cut_{k}",),
        "relevant results, weighted by how high they rank, relative to the best possible order",
    ),
    "map": _Metric(("map_cut_{k}",), "precision at the rank of each relevant result, averaged"),
}
_NAME = re.compile(r"([a-z0-9]+)@([1-9]\d*)")


def meanings(metrics: Iterable[str]) -> dict[str, str]:
    """Return what the known ones among these metrics mean, by their names without the cutoff."""
    names = dict.fromkeys(metric.partition("@")[0] for metric in metrics)
    return {name: _METRICS[name].meaning for name in names if name in _METRICS}


def with_defaults(*metrics: str) -> tuple[str, ...]:
    """Return the default metrics, and those of ``metrics`` that are not among them."""
    return tuple(dict.fromkeys((*DEFAULT_METRICS, *metrics)))


def retrieve(
    task: RetrievalTask, index: Index, *, k: int = 100, batch_size: int = 256
) -> dict[str, list[Hit]]:
    """Search for every question of a task and return the rankings.

    Where the task judges documents, a document has the rank of its best chunk; questions with fewer than
    ``k`` documents are searched again at twice the depth, up to the whole corpus.

    Args:
        task: The task.
        index: The system's index over ``task.corpus``.
        k: How many units (chunks or documents) to rank for each question.
        batch_size: How many questions to search at once.

    Returns:
        Query id -> at most ``k`` hits on units.

    Raises:
        RetrievalError: A score is not a number, or a hit is not in the corpus.
    """
    owners = {chunk.id: task.unit_of(chunk) for chunk in task.corpus}
    depth = _first_depth(task, k)
    rankings: dict[str, list[Hit]] = {}
    with progress("Searching", total=len(task.queries)) as bar:
        for start in range(0, len(task.queries), batch_size):
            batch = task.queries[start : start + batch_size]
            rankings.update(_search(index, batch, owners, k=k, depth=depth, own=task.own))
            bar.advance(len(batch))
    return rankings


def _first_depth(task: RetrievalTask, k: int) -> int:
    wanted = k + max(map(len, task.own.values()), default=0)
    if task.unit == "chunk" and not task.copies:
        return min(wanted, len(task.corpus))
    most = max(Counter(map(task.unit_of, task.corpus)).values(), default=1)
    return min(wanted if most == 1 else 2 * wanted, len(task.corpus))


def _search(
    index: Index,
    queries: Sequence[Query],
    owners: Mapping[str, str],
    *,
    k: int,
    depth: int,
    own: Mapping[str, frozenset[str]],
) -> dict[str, list[Hit]]:
    rankings: dict[str, list[Hit]] = {}
    waiting = list(queries)
    while waiting:
        again = []
        for query, hits in zip(waiting, index.search([q.text for q in waiting], k=depth), strict=True):
            mine = own.get(query.id, frozenset())
            rankings[query.id] = [hit for hit in _units(query, hits, owners) if hit.id not in mine][:k]
            # A search that returns fewer hits than asked for has no more to return.
            if len(rankings[query.id]) < k and len(hits) >= depth and depth < len(owners):
                again.append(query)
        waiting, depth = again, min(2 * depth, len(owners))
    return rankings


def _units(query: Query, hits: Iterable[Hit], owners: Mapping[str, str]) -> list[Hit]:
    best: dict[str, Hit] = {}
    for hit in hits:
        unit = owners.get(hit.id)
        if unit is None or math.isnan(hit.score):
            raise _unusable(query, hit)
        if unit not in best:
            best[unit] = hit if unit == hit.id else Hit(unit, hit.score)
    return list(best.values())


def _unusable(query: Query, hit: Hit) -> RetrievalError:
    if math.isnan(hit.score):
        return RetrievalError(
            f"A score for the question {query.text[:80]!r} is not a number: the embeddings contain "
            "NaN. Train again with a lower learning rate, or choose another model."
        )
    return RetrievalError(
        f"The index returns the chunk {hit.id!r}, which is not in the corpus: rebuild the index."
    )


def cutoff_of(metric: str) -> int:
    """Return how many hits a metric looks at: 10 for ``ndcg@10``."""
    return int(metric.partition("@")[2])


def check_metrics(metrics: Sequence[str]) -> None:
    """Refuse a metric that cannot be computed.

    Raises:
        ConfigError: A name is not ``NAME@K`` with one of the known names, or K is beyond the hits scored.
    """
    for metric in metrics:
        match = _NAME.fullmatch(metric)
        if match is None or match[1] not in _METRICS:
            near = difflib.get_close_matches(metric.partition("@")[0], _METRICS, n=1)
            hint = (
                f"did you mean {near[0]}@10?"
                if near
                else f"choose from {', '.join(_METRICS)}, as in ndcg@10."
            )
            raise ConfigError(f"There is no metric {metric!r}: {hint}")
        if int(match[2]) > MAX_CUTOFF:
            raise ConfigError(
                f"metric={metric} looks at {int(match[2]):,} hits, and {MAX_CUTOFF} per question are scored: "
                f"choose a cut-off up to {MAX_CUTOFF}, as in {match[1]}@{MAX_CUTOFF}."
            )


def evaluate(
    task: RetrievalTask,
    rankings: Rankings,
    *,
    system: str,
    metrics: Sequence[str] = DEFAULT_METRICS,
) -> Scores:
    """Score rankings with trec_eval: the means over all questions, and each question's own values.

    trec_eval orders hits by score and breaks ties by id, from Z to A. It is given ranks instead of scores,
    so that the order in which the system returned its hits is the one that is scored. A question without
    hits scores 0 and counts. Per question, ``f1@k`` is the harmonic mean of ``precision@k`` and
    ``recall@k``, and ``mrr@k`` is 1 / rank of the first relevant unit, or 0 beyond rank k. ``ndcg@k`` takes
    grades as gains (Järvelin & Kekäläinen, TOIS 20, 2002).

    Args:
        task: The questions and their judgments.
        rankings: Query id -> hits on units, best first, each unit once.
        system: The system's name.
        metrics: Names like ``ndcg@10``.

    Returns:
        The scores, all in [0, 1].

    Raises:
        ConfigError: A metric does not exist.
        DataError: The task has no questions, or one without judgments.
    """
    check_metrics(metrics)
    _check_task(task)
    from pytrec_eval import RelevanceEvaluator

    qrels = {query.id: dict(task.qrels[query.id]) for query in task.queries}
    runs = {query.id: _as_run(rankings.get(query.id, ())) for query in task.queries}
    values = RelevanceEvaluator(qrels, _trec_measures(metrics)).evaluate(runs)
    per_query = {
        query.id: {metric: _value(metric, values[query.id]) for metric in metrics} for query in task.queries
    }
    mean = {metric: fmean(scores[metric] for scores in per_query.values()) for metric in metrics}
    return Scores(system=system, mean=mean, per_query=per_query)


def _check_task(task: RetrievalTask) -> None:
    if not task.queries:
        raise DataError(f"The task {task.name} has no questions: give the benchmark some test pairs.")
    for query in task.queries:
        if not any(grade > 0 for grade in task.qrels.get(query.id, {}).values()):
            raise DataError(
                f"The question {query.id!r} of the task {task.name} has no relevant {task.unit}: "
                "give it a judgment, or leave it out."
            )


def _as_run(hits: Sequence[Hit]) -> dict[str, float]:
    run: dict[str, float] = {}
    for hit in hits:
        # trec_eval keeps scores as 32-bit floats, which are exact for whole numbers up to 16 million.
        run.setdefault(hit.id, float(len(hits) - len(run)))
    return run


def _trec_measures(metrics: Sequence[str]) -> set[str]:
    measures: set[str] = set()
    for metric in metrics:
        name, k = metric.split("@")
        measures.update(part.format(k=k).replace("_" + k, "." + k) for part in _METRICS[name].measures)
    return measures


def _value(metric: str, values: Mapping[str, float]) -> float:
    name, k = metric.split("@")
    parts = [values[part.format(k=k)] for part in _METRICS[name].measures]
    return _METRICS[name].value(parts, int(k))
