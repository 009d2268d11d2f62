"""Which retriever to serve: a model alone or fused with BM25, chosen by the dev questions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.benchmarking.metrics import cutoff_of, evaluate, retrieve
from embexp.benchmarking.statistics.comparison import Comparison
from embexp.benchmarking.task import RetrievalTask
from embexp.data.splitting import MIN_DEV_QUESTIONS
from embexp.finetuning.auto import SURE_QUESTIONS
from embexp.models.encoder import Embedder
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import DEFAULT_WEIGHT, Candidates, HybridIndex
from embexp.retrieval.index import DenseRetriever, Hit
from embexp.retrieval.parts import PartsRetriever

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
        part_words: The longest part of a passage that has a vector of its own, in words; None without parts.
        part_share: The share of the best part in a passage's score; None without parts.
        alone: Model -> the dev score without BM25 and parts; empty where nothing was measured.
    """

    model: str
    weight: float
    reason: str
    curve: Mapping[str, tuple[float, ...]]
    translated: bool = False
    part_words: int | None = None
    part_share: float | None = None
    alone: Mapping[str, float] = field(default_factory=dict)

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
        bm25: The settings of BM25 that are not its defaults, by the arguments of ``Bm25Retriever``.
        part_words: The longest part of a passage that has a vector of its own, in words; None without parts.
        part_share: The share of the best part in a passage's score; None without parts.
        alone: Model -> the dev score without BM25 and parts; empty where nothing was measured, and in earlier
            versions, which had no parts.
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
    bm25: Mapping[str, str | float | bool | None] = field(default_factory=dict)
    part_words: int | None = None
    part_share: float | None = None
    alone: Mapping[str, float] = field(default_factory=dict)


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
    words: Bm25Retriever | None = None,
    translations: Path | None = None,
    parts: PartsRetriever | None = None,
) -> RetrieverChoice:
    """Choose the model, BM25's words and weight on the dev questions, and stay near the default in doubt.

    BM25 uses translations where these score higher, with the last model and the default weight; so it is
    with parts, except that questions whose words were copied only refuse those that are clearly worse.

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
        words: BM25 as it is configured; None for its defaults.
        translations: A file of word translations; None for none.
        parts: How passages are cut into parts; None for passages alone.
    """
    models = list(embedders)
    if task is None or len(task.queries) < MIN_DEV_QUESTIONS:
        count = len(task.queries) if task else 0
        choice = _default_choice(models, f"{count} dev questions are too few to choose by: the default")
        return _with_parts(choice, parts)
    dev = _Dev(task, embedders, metric, folder)
    words, dense = words or Bm25Retriever(), ExactRetriever()
    scores = dev.scores(words, dense)
    alone = {name: rows[WEIGHTS.index(0.0)] for name, rows in scores.items()}
    translated, notes = False, []
    if translations is not None:
        other = replace(words, translations=str(translations))
        tried = dev.scores(other, dense)
        change = dev.change(scores, tried)
        notes.append(_note("word translations change", metric, change))
        if translated := _mean(change) > 0:
            scores, words = tried, other
    peoples_words = peoples_words and len(task.queries) >= SURE_QUESTIONS
    if parts is not None:
        tried = dev.scores(words, replace(parts, dense=dense))
        change = dev.change(scores, tried)
        notes.append(_note("parts of passages change", metric, change))
        scores, parts = (
            (tried, parts) if _keeps(change, chosen=peoples_words or not copied) else (scores, None)
        )
    choice = _choose(scores, alone[models[0]], metric=metric, copied=copied, peoples_words=peoples_words)
    choice = replace(
        choice,
        translated=translated and choice.weight > 0,
        reason="; ".join([choice.reason, *notes]),
        alone={name: _mean(row) for name, row in alone.items()},
    )
    return _with_parts(choice, parts)


def _keeps(change: npt.NDArray[np.float64], *, chosen: bool) -> bool:
    """Return whether to keep what changes the questions' scores so.

    Args:
        change: The change of each score; none at all keeps nothing.
        chosen: Whether it has to be better, rather than not clearly worse.
    """
    return bool(change.any()) and _mean(change) >= (0.0 if chosen else -2 * _error(change))


def _with_parts(choice: RetrieverChoice, parts: PartsRetriever | None) -> RetrieverChoice:
    return replace(choice, part_words=parts.words, part_share=parts.share) if parts else choice


def _note(what: str, metric: str, change: npt.NDArray[np.float64]) -> str:
    return f"{what} {metric} by {round(_mean(change), 3) + 0.0:+.3f} at the default weight"


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean())


def _error(differences: npt.NDArray[np.float64]) -> float:
    """Return the standard error of the mean of paired differences."""
    return float(differences.std(ddof=1) / len(differences) ** 0.5)


def _choose(
    scores: Mapping[str, npt.NDArray[np.float64]],
    alone: npt.NDArray[np.float64],
    *,
    metric: str,
    copied: bool,
    peoples_words: bool,
) -> RetrieverChoice:
    """Choose the model and the weight by the scores of all weights, shape (weights, questions) each.

    Args:
        scores: Model -> its scores.
        alone: The scores of the untuned model alone.
        metric: What the scores are.
        copied: Whether the questions' words were copied from the corpus.
        peoples_words: Whether there are many questions in people's own words.
    """
    models = list(scores)
    count = scores[models[0]].shape[1]
    curve = {name: tuple(float(row.mean()) for row in rows) for name, rows in scores.items()}
    if len({score for row in curve.values() for score in row}) == 1:
        reason = f"all choices score {curve[models[-1]][0]:.3f} on dev, which tells nothing: the default"
        return RetrieverChoice(models[-1], DEFAULT_WEIGHT, reason, curve)
    if peoples_words:
        model, weight = max(product(reversed(models), WEIGHTS), key=lambda each: _at(curve, *each))
        reason = (
            f"the best on {count} dev questions in people's own words "
            f"({metric} {_at(curve, model, weight):.3f}; "
            f"the {models[-1]} model alone {_at(curve, models[-1], 0.0):.3f})"
        )
        return RetrieverChoice(model, weight, reason, curve)
    if copied:
        model, weight = _not_refused(scores, alone)
        reason = (
            f"most of the {count} dev questions have copied words, so they only refuse what is worse than "
            f"the untuned model alone ({metric} {_at(curve, model, weight):.3f}, alone {alone.mean():.3f})"
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


def _not_refused(
    scores: Mapping[str, npt.NDArray[np.float64]], alone: npt.NDArray[np.float64]
) -> tuple[str, float]:
    """Return the first choice that is not worse than the untuned model alone, by two standard errors.

    The choices are, in this order, the tuned model with a little BM25 and alone, and the untuned model with
    a little BM25.

    Args:
        scores: Model -> scores, shape (weights, questions); the untuned model first.
        alone: The scores of the untuned model alone.
    """
    names = list(scores)
    for name, weight in product(reversed(names), (DEFAULT_WEIGHT, 0.0)):
        difference = scores[name][WEIGHTS.index(weight)] - alone
        if float(difference.mean()) >= -2 * _error(difference):
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
        return float(difference.mean()) <= _error(difference)

    close = [choice for choice, row in choices.items() if is_close(row)]
    model, weight = min(close, key=lambda choice: (abs(choice[1] - DEFAULT_WEIGHT), choice[0] != default))
    return model, weight, float(best.mean())


@dataclass(frozen=True)
class _Dev:
    """The dev questions, and the models that are asked them.

    Args:
        task: The questions.
        embedders: The models.
        metric: The metric to choose by.
        folder: Where an index may keep files.
    """

    task: RetrievalTask
    embedders: Mapping[str, Embedder]
    metric: str
    folder: Path

    def scores(self, words: Bm25Retriever, dense: DenseRetriever) -> dict[str, npt.NDArray[np.float64]]:
        """Return each model's score of each question at each weight, shape (weights, questions)."""
        import numpy as np

        sparse = words.index(self.task.corpus, path=self.folder)
        texts = [query.text for query in self.task.queries]
        scores: dict[str, npt.NDArray[np.float64]] = {}
        for name, embedder in self.embedders.items():
            vectors = dense.index(self.task.corpus, embedder, path=self.folder)
            found = HybridIndex(vectors, sparse, embedder).candidates(texts, depth=DEPTH)
            candidates = dict(zip(texts, found, strict=True))
            scores[name] = np.array([self._scores(candidates, weight) for weight in WEIGHTS])
        return scores

    def _scores(self, candidates: Mapping[str, Candidates], weight: float) -> list[float]:
        rankings = retrieve(self.task, _Reweighted(candidates, weight), k=cutoff_of(self.metric))
        scored = evaluate(self.task, rankings, system="dev", metrics=[self.metric]).per_query
        return [scored[query.id][self.metric] for query in self.task.queries]

    def change(
        self,
        before: Mapping[str, npt.NDArray[np.float64]],
        after: Mapping[str, npt.NDArray[np.float64]],
    ) -> npt.NDArray[np.float64]:
        """Return how the score of each question changes, with the last model and the default weight."""
        last, at_default = list(self.embedders)[-1], WEIGHTS.index(DEFAULT_WEIGHT)
        change: npt.NDArray[np.float64] = after[last][at_default] - before[last][at_default]
        return change


@dataclass(frozen=True)
class _Reweighted:
    """An index over known candidates, which another weight only ranks anew."""

    candidates: Mapping[str, Candidates]
    weight: float

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        return [self.candidates[query].rank(weight=self.weight, k=k) for query in queries]
