"""A map of the embedding space: a sample of questions and passages as both models embed them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from embexp.benchmarking.examples import snippet
from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.systems import TUNED, UNTUNED
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.models.encoder import Embedder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.floating]
    Vectors = npt.NDArray[np.float32]


MAX_QUESTIONS = 150
OTHER_PASSAGES = 190
"""Passages that answer none of the questions: with questions and answers, 500 points at most."""
LINKED = 5
"""The biggest wins, and as many of the biggest losses, whose question is linked to its answer."""
MIN_QUESTIONS = 3
LABEL_CHARACTERS = 90


@dataclass(frozen=True, slots=True)
class Spot:
    """A text on the map: its kind, its beginning, and its position before and after tuning."""

    kind: Literal["question", "passage"]
    text: str
    before: tuple[float, float]
    after: tuple[float, float]


@dataclass(frozen=True, slots=True)
class EmbeddingMap:
    """Questions and passages as two models embed them, projected onto one plane.

    Attributes:
        spots: The texts.
        links: (question, answer, change in score), the first two as positions in ``spots``.
        variance: The share of each model's variance that the plane shows.
        answer: The mean cosine of a question and its answer, before and after tuning.
        other: The mean cosine of a question and the nearest other passage of the sample.
    """

    spots: Sequence[Spot]
    links: Sequence[tuple[int, int, float]]
    variance: tuple[float, float]
    answer: tuple[float, float]
    other: tuple[float, float]


def _project(before: Floats, after: Floats) -> tuple[Floats, Floats, tuple[float, float]]:
    """Project both models' vectors of the same texts onto one plane.

    Each model's vectors are centred. The second model's are then rotated (and mirrored) all together to lie
    as near as possible to the first model's: orthogonal Procrustes (Schönemann, Psychometrika 31, 1966),
    which preserves all distances within a model; shorter vectors are padded with zeros first. The plane is
    spanned by the first two principal components of both sets together.

    Args:
        before: The first model's vectors, shape (texts, dimension).
        after: The second model's, of the same texts; the dimension may differ.

    Returns:
        Two arrays of shape (texts, 2), and the share of each model's variance that the plane shows.
    """
    import numpy as np
    from scipy.linalg import orthogonal_procrustes

    width = max(before.shape[1], after.shape[1])
    first, second = (_centred(vectors, width) for vectors in (before, after))
    turned = second @ orthogonal_procrustes(second, first)[0]
    axes = np.linalg.svd(np.concatenate([first, turned]), full_matrices=False)[2][:2]
    # The sign of a component is arbitrary: its largest weight is made positive, so that maps are repeatable.
    largest = np.abs(axes).argmax(axis=1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    shares = tuple(_shown(vectors, axes) for vectors in (first, turned))
    return first @ axes.T, turned @ axes.T, (shares[0], shares[1])


def _centred(vectors: Floats, width: int) -> Floats:
    import numpy as np

    padded: Floats = np.zeros((len(vectors), width))
    padded[:, : vectors.shape[1]] = vectors
    padded -= padded.mean(axis=0)
    return padded


def _shown(vectors: Floats, axes: Floats) -> float:
    total = float((vectors**2).sum())
    return float(((vectors @ axes.T) ** 2).sum()) / total if total else 0.0


def draw_map(
    task: RetrievalTask,
    untuned: Embedder,
    tuned: Embedder,
    scores: Mapping[str, Scores],
    *,
    metric: str,
    seed: int,
) -> EmbeddingMap | None:
    """Map a random sample of questions, their answers and other passages; None for fewer than 3 questions.

    Where documents are judged, a question's answer is the chunk of a relevant document that is nearest to
    it by the mean of both models. Embedders with a cache encode nothing anew.

    Args:
        task: The questions, their judgments and the corpus.
        untuned: The model before tuning.
        tuned: The model after tuning.
        scores: The scores of ``untuned`` and ``tuned``, which decide the questions to link.
        metric: The metric that they are chosen by.
        seed: Seeds the sample.
    """
    import numpy as np

    answerable = _answerable(task)
    if len(answerable) < MIN_QUESTIONS:
        return None
    before, after = (scores[name].per_query for name in (UNTUNED, TUNED))
    deltas = {query.id: after[query.id][metric] - before[query.id][metric] for query in answerable}
    drawn = random.Random(seed).sample(answerable, min(MAX_QUESTIONS - 2 * LINKED, len(answerable)))
    picked = _most_changed(answerable, deltas)
    questions = list({query.id: query for query in (*drawn, *picked)}.values())
    models = (untuned, tuned)
    asked = [model.encode_queries([query.text for query in questions]) for model in models]
    answers = _answers(task, questions, asked, models)
    passages = [*dict.fromkeys(answers), *_others(task, answers, seed)]
    vectors = [model.encode_passages([chunk.passage for chunk in passages]) for model in models]
    at_answer = [passages.index(chunk) for chunk in answers]
    near = [
        _cosines(queries[: len(drawn)], candidates, at_answer[: len(drawn)])
        for queries, candidates in zip(asked, vectors, strict=True)
    ]
    one, other, variance = _project(*(np.concatenate(pair) for pair in zip(asked, vectors, strict=True)))
    number = {query.id: at for at, query in enumerate(questions)}
    return EmbeddingMap(
        spots=_spots(questions, passages, one, other),
        links=[
            (number[query.id], len(questions) + at_answer[number[query.id]], deltas[query.id])
            for query in picked
        ],
        variance=variance,
        answer=(near[0][0], near[1][0]),
        other=(near[0][1], near[1][1]),
    )


def _answerable(task: RetrievalTask) -> list[Query]:
    """Return the questions that have a relevant unit in the corpus."""
    units = {task.unit_of(chunk) for chunk in task.corpus}
    return [query for query in task.queries if _relevant(task, query) & units]


def _relevant(task: RetrievalTask, query: Query) -> set[str]:
    return {unit for unit, grade in task.qrels[query.id].items() if grade > 0}


def _spots(
    questions: Sequence[Query], passages: Sequence[Chunk], before: Floats, after: Floats
) -> list[Spot]:
    texts: list[tuple[Literal["question", "passage"], str]] = [("question", each.text) for each in questions]
    texts += [("passage", each.passage) for each in passages]
    return [
        Spot(kind, snippet(text, LABEL_CHARACTERS), _point(one), _point(other))
        for (kind, text), one, other in zip(texts, before, after, strict=True)
    ]


def _most_changed(queries: Sequence[Query], deltas: Mapping[str, float]) -> list[Query]:
    """Return the questions that won most, then those that lost most."""
    ranked = sorted(queries, key=lambda query: (-deltas[query.id], query.id))
    wins = [query for query in ranked[:LINKED] if deltas[query.id] > 0]
    losses = [query for query in ranked[::-1][:LINKED] if deltas[query.id] < 0]
    return wins + losses


def _answers(
    task: RetrievalTask, questions: Sequence[Query], asked: Sequence[Vectors], models: Sequence[Embedder]
) -> list[Chunk]:
    """Return the nearest relevant chunk of each question."""
    relevant = {query.id: _relevant(task, query) for query in questions}
    units = set().union(*relevant.values())
    by_unit: dict[str, list[Chunk]] = {}
    for chunk in task.corpus:
        if (unit := task.unit_of(chunk)) in units:
            by_unit.setdefault(unit, []).append(chunk)
    nearest = []
    for at, query in enumerate(questions):
        chunks = [chunk for unit in sorted(relevant[query.id]) for chunk in by_unit.get(unit, ())]
        texts = [chunk.passage for chunk in chunks]
        both = [model.encode_passages(texts) @ asked[which][at] for which, model in enumerate(models)]
        nearest.append(chunks[int((both[0] + both[1]).argmax())])
    return nearest


def _others(task: RetrievalTask, answers: Sequence[Chunk], seed: int) -> list[Chunk]:
    held = {chunk.id for chunk in answers}
    rest = [chunk for chunk in task.corpus if chunk.id not in held]
    return random.Random(seed).sample(rest, min(OTHER_PASSAGES, len(rest)))


def _cosines(queries: Vectors, passages: Vectors, answers: Sequence[int]) -> tuple[float, float]:
    """Return mean cosines: of a question to its answer, and to the nearest other passage of the sample."""
    import numpy as np

    cosines = np.array(queries @ passages.T)
    rows = np.arange(len(queries))
    own = cosines[rows, answers]
    cosines[rows, answers] = -np.inf
    return float(own.mean()), float(cosines.max(axis=1).mean())


def _point(values: Floats) -> tuple[float, float]:
    return round(float(values[0]), 4), round(float(values[1]), 4)
