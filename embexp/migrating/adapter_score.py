"""What an adapter is worth: the share of the tuned model's gain that it brings to the old index."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from embexp.benchmarking.metrics import Scores, with_defaults
from embexp.benchmarking.statistics import Comparison, cluster_draws, compare, percentile_interval
from embexp.benchmarking.systems import score_embedder
from embexp.benchmarking.task import RetrievalTask
from embexp.errors import DataError
from embexp.migrating.drift import DriftAdapter, DriftKind, EncodedTexts
from embexp.models.encoder import AdaptedEmbedder, Embedder
from embexp.models.vector_adapter import VectorAdapter

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors

RESAMPLES = 10_000
ENOUGH_HELD_OUT = 50
"""With fewer dev questions, some of the training questions help to choose the kind of adapter."""
HELD_OUT_SHARE = 0.2
UNTUNED, UNADAPTED, ADAPTED, TUNED = "untuned", "unadapted", "adapted", "tuned"
"""The systems: the untuned model; the tuned model's questions on the old index, as they are and adapted; and
the tuned model on an index of its own."""


class AdapterReport(BaseModel):
    """What ``migrate.json`` holds of a drift adapter.

    Attributes:
        kind: The kind that was chosen.
        held_out_hits: For each kind, the share of the tuned model's first hits that it finds on the old
            index, for questions that neither fitted it nor test it.
        metric: What is compared.
        scores: The mean of each system on the test questions; ``unadapted`` only where both models have
            vectors of one length.
        gain: Tuned, on an index of its own, minus untuned.
        kept: Adapted, on the old index, minus untuned.
        share: ``kept`` over ``gain``; None where it is not sure that there is a gain.
        share_interval: Its paired 95% interval, clustered by source document.
    """

    model_config = ConfigDict(frozen=True)

    kind: DriftKind
    held_out_hits: dict[DriftKind, float]
    metric: str
    scores: dict[str, float]
    gain: Comparison
    kept: Comparison
    share: float | None
    share_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Questions:
    """The texts of a run's questions: those that fit an adapter, and those that choose its kind."""

    training: Sequence[str]
    held_out: Sequence[str]


def divide_questions(
    training: Sequence[str], dev: Sequence[str], *, asked: Collection[str], seed: int
) -> Questions:
    """Return the distinct questions; where dev has few, a fifth of the training questions is held out, too.

    Args:
        training: The texts of the training questions.
        dev: Those of the dev questions.
        asked: Those of the test questions, which are left out.
        seed: Seeds the choice.

    Raises:
        DataError: There are none to hold out.
    """
    tested = set(asked)
    held_out = [text for text in dict.fromkeys(dev) if text not in tested]
    excluded = tested.union(held_out)
    fitting = [text for text in dict.fromkeys(training) if text not in excluded]
    if len(held_out) < ENOUGH_HELD_OUT:
        random.Random(seed).shuffle(fitting)
        count = round(len(fitting) * HELD_OUT_SHARE)
        held_out, fitting = [*held_out, *fitting[:count]], fitting[count:]
    if not held_out:
        raise DataError(
            "The run has no dev questions and fewer than three training questions, so that no kind of "
            "adapter can be chosen: name a run with more questions."
        )
    return Questions(fitting, held_out)


def fit_and_score(
    settings: DriftAdapter,
    tuned: Embedder,
    untuned: Embedder,
    task: RetrievalTask,
    questions: Questions,
    *,
    metric: str,
    folder: Path,
    seed: int = 0,
) -> tuple[VectorAdapter, AdapterReport]:
    """Fit an adapter on a task's corpus and a run's questions, and score it on the task's own questions.

    Args:
        settings: Which adapters to try.
        tuned: The model that encodes questions from now on.
        untuned: The model of the old index.
        task: The corpus, and the test questions.
        questions: The run's other questions.
        metric: What is compared, such as ``ndcg@10``.
        folder: Where an index may keep files.
        seed: Seeds samples, the fit and the intervals.

    Raises:
        DataError: The task has no questions.
    """
    fitted = settings.fit(_encoded(settings, tuned, untuned, task, questions, seed=seed), seed=seed)
    systems: dict[str, Embedder] = {UNTUNED: untuned, TUNED: tuned}
    on_old_index = OldIndexEmbedder(tuned, untuned)
    if tuned.dimension == untuned.dimension:
        systems[UNADAPTED] = on_old_index
    systems[ADAPTED] = AdaptedEmbedder(on_old_index, fitted.adapter)
    scores = {
        name: score_embedder(task, each, system=name, folder=folder, metrics=with_defaults(metric))
        for name, each in systems.items()
    }
    gain, kept = (
        compare(scores[UNTUNED], scores[name], metric=metric, clusters=task.clusters, seed=seed)
        for name in (TUNED, ADAPTED)
    )
    share = _share_kept(scores, metric, task.clusters, seed=seed) if gain.better else None
    report = AdapterReport(
        kind=fitted.kind,
        held_out_hits=dict(fitted.kept),
        metric=metric,
        scores={name: each.mean[metric] for name, each in scores.items()},
        gain=gain,
        kept=kept,
        share=kept.delta / gain.delta if share else None,
        share_interval=share,
    )
    return fitted.adapter, report


def _encoded(
    settings: DriftAdapter,
    tuned: Embedder,
    untuned: Embedder,
    task: RetrievalTask,
    questions: Questions,
    *,
    seed: int,
) -> EncodedTexts:
    passages = _sample([chunk.passage for chunk in task.corpus], settings.max_texts, seed)
    training, held_out = (
        _sample(texts, settings.max_texts, seed) for texts in (questions.training, questions.held_out)
    )
    return EncodedTexts(
        new=tuned.encode_passages(passages),
        old=untuned.encode_passages(passages),
        questions=tuned.encode_queries(training),
        held_out=tuned.encode_queries(held_out),
    )


def _sample(texts: Sequence[str], most: int, seed: int) -> list[str]:
    distinct = list(dict.fromkeys(texts))
    return distinct if len(distinct) <= most else random.Random(seed).sample(distinct, most)


def _share_kept(
    scores: Mapping[str, Scores], metric: str, clusters: Mapping[str, str], *, seed: int
) -> tuple[float, float]:
    """Return the 95% interval of the share of the gain that is kept: both means of the same resamples."""
    import numpy as np

    base = scores[UNTUNED].per_query
    names = sorted({clusters.get(query, query) for query in base})
    row_of = {name: row for row, name in enumerate(names)}
    sums = np.zeros((len(names), 2))
    for query, values in base.items():
        for column, system in enumerate((ADAPTED, TUNED)):
            difference = scores[system].per_query[query][metric] - values[metric]
            sums[row_of[clusters.get(query, query)], column] += difference
    totals = np.concatenate(
        [times @ sums for times in cluster_draws(len(names), resamples=RESAMPLES, seed=seed)]
    )
    totals = totals[totals[:, 1] > 0]  # a share of no gain says nothing; the gain is sure, so these are few
    return percentile_interval(totals[:, 0] / totals[:, 1])


class OldIndexEmbedder:
    """Encodes questions with the tuned model, for an index of the untuned one.

    Args:
        tuned: Encodes questions.
        untuned: Encodes passages, as the index has them.
    """

    fingerprint = name = address = ""

    def __init__(self, tuned: Embedder, untuned: Embedder) -> None:
        self._tuned = tuned
        self._untuned = untuned

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self._untuned.dimension

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""
        return self._tuned.encode_queries(texts)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""
        return self._untuned.encode_passages(texts)
