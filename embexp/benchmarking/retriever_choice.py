"""Which retriever to serve: a model alone or fused with BM25, chosen by the dev questions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.benchmarking.metrics import cutoff_of, evaluate, retrieve
from embexp.benchmarking.statistics.comparison import Comparison
from embexp.benchmarking.task import RetrievalTask
from embexp.data.splitting import MIN_DEV_QUESTIONS
from embexp.finetuning.auto import SURE_QUESTIONS
from embexp.models.encoder import Embedder
from embexp.retrieval.bm25 import Bm25Index, Bm25Retriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import DEFAULT_WEIGHT, Candidates, HybridIndex
from embexp.retrieval.index import Hit

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

log = logging.getLogger(__name__)

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""The weights of BM25 that are tried; 0 is the model alone."""
DEPTH = 200


@dataclass(frozen=True, slots=True)
class RetrieverChoice:
    """A model and the weight of BM25 beside it.

    Attributes:
        model: ``untuned`` or ``tuned``.
        weight: The share of BM25 in a hit's score; 0 is the model alone.
        reason: Why this one, in a sentence.
        curve: Model -> the dev score at each of ``WEIGHTS``; empty where nothing was measured.
        translated: Whether BM25 uses the word translations of the training pairs.
    """

    model: str
    weight: float
    reason: str
    curve: Mapping[str, tuple[float, ...]]
    translated: bool = False

    @property
    def fusion(self) -> str:
        """``convex`` where BM25 takes part, else ``none``."""
        return "convex" if self.weight else "none"


@dataclass(frozen=True, slots=True)
class ServedRetriever:
    """The chosen retriever with its test scores.

    Attributes:
        model: ``untuned`` or ``tuned``.
        fusion: ``convex`` where BM25 takes part, else ``none``.
        weight: The share of BM25 in a hit's score.
        reason: Why this one, in a sentence.
        scores: The mean metrics on the test questions.
        comparison: This retriever minus the untuned model alone.
        curve: Model -> the dev score at each weight of ``weights``.
        weights: The weights that were tried.
        adaptive: Whether each query has a weight of its own around ``weight``; not so in earlier versions.
        translated: Whether BM25 uses word translations, the run's ``translations.json``.
    """

    model: str
    fusion: str
    weight: float
    reason: str
    scores: Mapping[str, float]
    comparison: Comparison
    curve: Mapping[str, tuple[float, ...]]
    weights: tuple[float, ...] = WEIGHTS
    adaptive: bool = False
    translated: bool = False


def _default_choice(models: Sequence[str], reason: str) -> RetrieverChoice:
    """Return the last model with the default weight, for dev questions that cannot choose."""
    return RetrieverChoice(model=models[-1], weight=DEFAULT_WEIGHT, reason=reason, curve={})


def choose_retriever(
    task: RetrievalTask | None,
    embedders: Mapping[str, Embedder],
    *,
    metric: str,
    copied: bool,
    peoples_words: bool = False,
    folder: Path,
    translations: Path | None = None,
) -> RetrieverChoice:
    """Choose the model, BM25's words and weight on the dev questions, and stay near the default in doubt.

    BM25 uses translations where these score higher, with the last model and the default weight.

    Many questions in people's own words are taken at their word: the best choice is the one to serve. For
    others the one-standard-error rule (Breiman et al. 1984) picks, among all choices whose score is within
    one standard error of the best, the one nearest to the default: a small dev set chooses little. Questions
    whose words were copied from the passages choose nothing, since the best weight for them is not
    that for people's; they may only refuse what is worse than the untuned model alone.

    Args:
        task: The dev questions; None where there are none.
        embedders: The untuned and, where there is one, the tuned model; the last is the default.
        metric: The metric to choose by.
        copied: Whether the questions' words were copied from the corpus.
        peoples_words: Whether most questions are in people's own words.
        folder: Where an index may keep files.
        translations: A file of word translations; None for none.
    """
    models = list(embedders)
    if task is None or len(task.queries) < MIN_DEV_QUESTIONS:
        count = len(task.queries) if task else 0
        return _default_choice(models, f"{count} dev questions are too few to choose by: the default")
    scores = _all_scores(task, embedders, Bm25Retriever(), metric=metric, folder=folder)
    if translations is None:
        return _choose(scores, metric=metric, copied=copied, peoples_words=peoples_words)
    words = Bm25Retriever(translations=str(translations))
    translated = _all_scores(task, embedders, words, metric=metric, folder=folder)
    at_default = WEIGHTS.index(DEFAULT_WEIGHT)
    before, after = (float(each[models[-1]][at_default].mean()) for each in (scores, translated))
    better = after > before
    choice = _choose(
        translated if better else scores, metric=metric, copied=copied, peoples_words=peoples_words
    )
    change = f"word translations change {metric} by {after - before:+.3f} at the default weight"
    return replace(choice, translated=better and choice.weight > 0, reason=f"{choice.reason}; {change}")


def _choose(
    scores: Mapping[str, npt.NDArray[np.float64]], *, metric: str, copied: bool, peoples_words: bool
) -> RetrieverChoice:
    """Choose the model and the weight by the scores of all weights, shape (weights, questions) each."""
    models = list(scores)
    count = scores[models[0]].shape[1]
    curve = {name: tuple(float(row.mean()) for row in rows) for name, rows in scores.items()}
    if len({score for row in curve.values() for score in row}) == 1:
        reason = f"all choices score {curve[models[-1]][0]:.3f} on dev, which tells nothing: the default"
        return RetrieverChoice(models[-1], DEFAULT_WEIGHT, reason, curve)
    if peoples_words and count >= SURE_QUESTIONS:
        model, weight = max(product(reversed(models), WEIGHTS), key=lambda each: _at(curve, *each))
        reason = (
            f"the best on {count} dev questions in people's own words "
            f"({metric} {_at(curve, model, weight):.3f}; "
            f"the {models[-1]} model alone {_at(curve, models[-1], 0.0):.3f})"
        )
        return RetrieverChoice(model, weight, reason, curve)
    if copied:
        model, weight = _not_refused(scores)
        reason = (
            f"the words of the {count} dev questions are copied, so they only refuse what is worse than the "
            f"untuned model alone ({metric} {_at(curve, model, weight):.3f}, alone {curve[models[0]][0]:.3f})"
        )
        return RetrieverChoice(model, weight, reason, curve)
    model, weight, best = _one_standard_error(scores, models[-1])
    reason = (
        f"within one standard error of the best on {count} dev questions "
        f"({metric} {_at(curve, model, weight):.3f}, best {best:.3f})"
    )
    return RetrieverChoice(model, weight, reason, curve)


def _at(curve: Mapping[str, Sequence[float]], model: str, weight: float) -> float:
    return curve[model][WEIGHTS.index(weight)]


def _not_refused(scores: Mapping[str, npt.NDArray[np.float64]]) -> tuple[str, float]:
    """Return the first choice that is not worse than the untuned model alone, by two standard errors.

    The choices are, in this order, the tuned model with a little BM25 and alone, and the untuned model with
    a little BM25.

    Args:
        scores: Model -> scores, shape (weights, questions); the untuned model first.
    """
    names = list(scores)
    alone = scores[names[0]][WEIGHTS.index(0.0)]
    for name, weight in product(reversed(names), (DEFAULT_WEIGHT, 0.0)):
        difference = scores[name][WEIGHTS.index(weight)] - alone
        error = difference.std(ddof=1) / len(difference) ** 0.5
        if float(difference.mean()) >= -2 * float(error):
            return name, weight
    return names[0], 0.0


def _one_standard_error(
    scores: Mapping[str, npt.NDArray[np.float64]], default: str
) -> tuple[str, float, float]:
    """Return the choice nearest to the default within one standard error of the best, and the best score.

    Args:
        scores: Model -> scores, shape (weights, questions).
        default: The model of the default.
    """
    choices = {
        (name, weight): row
        for name, rows in scores.items()
        for weight, row in zip(WEIGHTS, rows, strict=True)
    }
    best = max(choices.values(), key=lambda row: float(row.mean()))

    def is_close(row: npt.NDArray[np.float64]) -> bool:
        difference = best - row
        error = difference.std(ddof=1) / len(difference) ** 0.5
        return float(difference.mean()) <= float(error)

    close = [choice for choice, row in choices.items() if is_close(row)]
    model, weight = min(close, key=lambda choice: (abs(choice[1] - DEFAULT_WEIGHT), choice[0] != default))
    return model, weight, float(best.mean())


def _all_scores(
    task: RetrievalTask,
    embedders: Mapping[str, Embedder],
    words: Bm25Retriever,
    *,
    metric: str,
    folder: Path,
) -> dict[str, npt.NDArray[np.float64]]:
    """Return each model's score of each question at each weight, shape (weights, questions)."""
    index = words.index(task.corpus, path=folder)
    return {
        name: _scores(task, embedder, index, metric=metric, folder=folder)
        for name, embedder in embedders.items()
    }


def _scores(
    task: RetrievalTask, embedder: Embedder, words: Bm25Index, *, metric: str, folder: Path
) -> npt.NDArray[np.float64]:
    """Return the score of each question at each weight, shape (weights, questions)."""
    import numpy as np

    dense = ExactRetriever().index(task.corpus, embedder, path=folder)
    index = HybridIndex(dense, words, embedder)
    texts = [query.text for query in task.queries]
    candidates = dict(zip(texts, index.candidates(texts, depth=DEPTH), strict=True))
    rows = []
    for weight in WEIGHTS:
        rankings = retrieve(task, _Reweighted(candidates, weight), k=cutoff_of(metric))
        per_query = evaluate(task, rankings, system="dev", metrics=[metric]).per_query
        rows.append([per_query[query.id][metric] for query in task.queries])
    return np.array(rows)


@dataclass(frozen=True)
class _Reweighted:
    """An index over known candidates, which another weight only ranks anew."""

    candidates: Mapping[str, Candidates]
    weight: float

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        return [self.candidates[query].rank(weight=self.weight, k=k) for query in queries]
