"""Below which score there is probably no answer: measured on questions with and without their documents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.benchmarking.metrics import retrieve
from embexp.benchmarking.statistics.comparison import MIN_CLUSTERS, clustered_interval
from embexp.benchmarking.statistics.resampling import cluster_draws, percentile_interval
from embexp.benchmarking.task import RetrievalTask
from embexp.data.splitting import MIN_DEV_QUESTIONS
from embexp.models.encoder import Embedder
from embexp.retrieval.exact import ExactRetriever

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

MAX_CANDIDATES = 400
"""The most thresholds that are tried; of more, every n-th is."""
CURVE_STEPS = 16
"""About how many thresholds the table and the plot have."""
RESAMPLES = 2_000


@dataclass(frozen=True, slots=True)
class AskedTwice:
    """A question's best scores: with the whole corpus, and without the documents that answer it.

    Attributes:
        cluster: The question's source document.
        score: The score of the first hit in the whole corpus.
        right: Whether that hit is relevant.
        unanswerable: The score of the first hit once the documents that answer it are removed.
    """

    cluster: str
    score: float
    right: bool
    unanswerable: float


@dataclass(frozen=True, slots=True)
class ThresholdPoint:
    """What a search does that answers only if its best hit scores at least ``threshold``.

    Attributes:
        threshold: The least score of an answer, a cosine.
        precision: Of the answered questions that have an answer, the share whose first hit is right; None
            where no question is answered.
        answered: Of the questions that have an answer, the share that is answered.
        refused: Of the questions without an answer, the share that is not answered.
    """

    threshold: float
    precision: float | None
    answered: float
    refused: float


@dataclass(frozen=True, slots=True)
class ScoreThreshold:
    """The score below which there is probably no answer.

    Attributes:
        model: The model that the scores come from.
        queries: How many dev questions were asked, each once with its documents and once without.
        clusters: How many source documents they come from.
        threshold: The recommended threshold; None where ``reason`` says why there is none.
        interval: Its 95% interval; None without a threshold.
        reason: Why there is no threshold; empty where there is one.
        at: The rates at the threshold; None without one.
        intervals: The 95% intervals of these rates, by name.
        curve: The rates at thresholds from low to high.
    """

    model: str
    queries: int
    clusters: int
    threshold: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""
    at: ThresholdPoint | None = None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    curve: tuple[ThresholdPoint, ...] = ()


def measure_threshold(
    task: RetrievalTask | None, embedder: Embedder, *, model: str, folder: Path, seed: int = 0
) -> ScoreThreshold:
    """Ask each question with and without the documents that answer it, and recommend a threshold.

    Args:
        task: The dev questions over the whole corpus; None where there are none.
        embedder: The model; hits are scored by cosine, in exact search.
        model: The model's name in the result.
        folder: Where an index may keep files.
        seed: Seeds the resampling.
    """
    count = len(task.queries) if task else 0
    clusters = len({query.cluster for query in task.queries}) if task else 0
    if task is None or count < MIN_DEV_QUESTIONS or clusters < MIN_CLUSTERS:
        return ScoreThreshold(model, count, clusters, reason=_too_few(count, clusters))
    return recommend(ask_twice(task, embedder, folder=folder), model=model, seed=seed)


def _too_few(questions: int, documents: int) -> str:
    return (
        f"{questions:,} dev questions from {documents:,} documents are too few for a threshold, which takes "
        f"{MIN_DEV_QUESTIONS} questions from {MIN_CLUSTERS} documents: add documents, or raise split.dev"
    )


def ask_twice(task: RetrievalTask, embedder: Embedder, *, folder: Path) -> list[AskedTwice]:
    """Return each question's best score with the whole corpus and without the documents that answer it.

    Every chunk of a document that answers the question is left out the second time, and copies of it, too.
    A question for which no other document is left is not asked.

    Args:
        task: The questions.
        embedder: Encodes questions and passages.
        folder: Where an index may keep files.
    """
    index = ExactRetriever().index(task.corpus, embedder, path=folder)
    owners: dict[str, set[str]] = {}
    for chunk in task.corpus:
        owners.setdefault(task.unit_of(chunk), set()).add(chunk.document_id)
    relevant = {
        query.id: {unit for unit, grade in task.qrels[query.id].items() if grade > 0}
        for query in task.queries
    }
    removed = {
        name: set().union(*(owners.get(unit, set()) for unit in units)) for name, units in relevant.items()
    }
    own = {
        name: frozenset().union(*(owners.get(unit, set()) for unit in units))
        for name, units in task.own.items()
    }
    by_document = replace(task, unit="document", qrels={}, own=own, copies={})
    first = retrieve(task, index, k=1)
    deep = retrieve(by_document, index, k=1 + max(map(len, removed.values()), default=0))
    asked = []
    for query in task.queries:
        others = [hit for hit in deep[query.id] if hit.id not in removed[query.id]]
        if first[query.id] and others:
            best = first[query.id][0]
            asked.append(
                AskedTwice(query.cluster, best.score, best.id in relevant[query.id], others[0].score)
            )
    return asked


def recommend(
    asked: Sequence[AskedTwice], *, model: str, seed: int = 0, resamples: int = RESAMPLES
) -> ScoreThreshold:
    """Recommend the threshold that tells most questions with an answer from the same ones without.

    That is the threshold t with the greatest answered(t) + refused(t) − 1 (Youden, Index for rating
    diagnostic tests, Cancer 3, 1950): the share of questions that are answered with their documents and
    not answered without. Where several are equally good, it is the middle one. The interval is that of a
    percentile bootstrap that draws source documents, and chooses the threshold anew in each resample.

    Args:
        asked: The scores of at least one question.
        model: The model's name in the result.
        seed: Seeds the resampling.
        resamples: How many resamples to draw.
    """
    import numpy as np

    clusters = [each.cluster for each in asked]
    found = ScoreThreshold(model, len(asked), len(set(clusters)))
    if found.queries < MIN_DEV_QUESTIONS or found.clusters < MIN_CLUSTERS:
        return replace(found, reason=_too_few(found.queries, found.clusters))
    candidates = _candidates(asked)
    told = np.array(
        [(each.unanswerable < candidates) & (candidates <= each.score) for each in asked], dtype=np.float64
    )
    if not told.any():
        reason = "every question has the same best score with its documents and without, which tells nothing"
        return replace(found, reason=reason)
    names = {name: row for row, name in enumerate(dict.fromkeys(clusters))}
    by_cluster = np.zeros((len(names), len(candidates)))
    np.add.at(by_cluster, [names[name] for name in clusters], told)
    threshold = float(candidates[_middle_best(by_cluster.sum(axis=0)[None, :])[0]])
    drawn = [
        candidates[_middle_best(times @ by_cluster)]
        for times in cluster_draws(len(names), columns=len(candidates), resamples=resamples, seed=seed)
    ]
    return replace(
        found,
        threshold=threshold,
        interval=percentile_interval(np.concatenate(drawn)),
        at=point(asked, threshold),
        intervals=_intervals(asked, threshold),
        curve=tuple(point(asked, each) for each in _round_thresholds(asked)),
    )


def point(asked: Sequence[AskedTwice], threshold: float) -> ThresholdPoint:
    """Return precision and the shares that are answered and refused at a threshold."""
    answered = [each for each in asked if each.score >= threshold]
    refused = [each for each in asked if each.unanswerable < threshold]
    return ThresholdPoint(
        threshold=threshold,
        precision=sum(each.right for each in answered) / len(answered) if answered else None,
        answered=len(answered) / len(asked),
        refused=len(refused) / len(asked),
    )


def _intervals(asked: Sequence[AskedTwice], threshold: float) -> dict[str, tuple[float, float]]:
    """Return the 95% interval of each rate at a threshold, clustered by source document."""
    numbered = {str(number): each for number, each in enumerate(asked)}
    clusters = {number: each.cluster for number, each in numbered.items()}
    answered = {number: each for number, each in numbered.items() if each.score >= threshold}
    rates = {
        "precision": {number: float(each.right) for number, each in answered.items()},
        "answered": {number: float(each.score >= threshold) for number, each in numbered.items()},
        "refused": {number: float(each.unanswerable < threshold) for number, each in numbered.items()},
    }
    return {name: clustered_interval(values, clusters) for name, values in rates.items()}


def _candidates(asked: Sequence[AskedTwice]) -> Floats:
    """Return the thresholds midway between neighbouring scores, between which no question changes."""
    import numpy as np

    scores = np.unique([value for each in asked for value in (each.score, each.unanswerable)])
    middles: Floats = (scores[1:] + scores[:-1]) / 2
    return middles[:: max(1, math.ceil(len(middles) / MAX_CANDIDATES))]


def _middle_best(scores: Floats) -> npt.NDArray[np.int64]:
    """Return the column of each row's highest score; of several equal ones the middle."""
    import numpy as np

    best = scores == scores.max(axis=1, keepdims=True)
    middle = (best.sum(axis=1, keepdims=True) + 1) // 2
    columns: npt.NDArray[np.int64] = np.argmax(best.cumsum(axis=1) == middle, axis=1)
    return columns


def _round_thresholds(asked: Sequence[AskedTwice]) -> list[float]:
    """Return about ``CURVE_STEPS`` round thresholds that span all scores, steps of 1, 2 or 5 · 10ⁿ apart."""
    values = [value for each in asked for value in (each.score, each.unanswerable)]
    low, high = min(values), max(values)
    raw = (high - low) / CURVE_STEPS
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= raw * (1 - 1e-9))
    return [round(number * step, 10) for number in range(math.floor(low / step), math.ceil(high / step) + 1)]
