"""Model selection: which of the untuned, the tuned and the merged weights are best on dev."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from embexp.data.splitting import MIN_DEV_QUESTIONS
from embexp.finetuning.context import TrainingContext
from embexp.finetuning.settings import Select
from embexp.finetuning.training import GENERAL, MERGED, merged_name, question_scores

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

UNTUNED, TUNED = "untuned", "tuned"
_FEWEST = 5
"""Fewer questions show no harm either."""


class SelectionSettings(Protocol):
    """The settings of a trainer that say which candidate is selected; see ``TrainerSettings``."""

    @property
    def metric(self) -> str: ...  # noqa: D102 - described there

    @property
    def select(self) -> Select: ...  # noqa: D102

    @property
    def preferred_share(self) -> float: ...  # noqa: D102

    @property
    def forgetting_floor(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Weights that may be selected.

    Args:
        name: ``untuned``, ``tuned`` or ``merged 0.5``.
        share: The share of the tuned weights in them, from 0 to 1.
        score: Their mean on dev.
        questions: Their score on each dev question; empty where only the mean is known.
        general: Their score on the general set; None if there is none.
    """

    name: str
    share: float
    score: float
    questions: Sequence[float] = ()
    general: float | None = None


@dataclass(frozen=True)
class Selected:
    """The name of the selected weights, and the scores of all on dev and on the general set.

    ``reason`` says why they are selected, ``by_dev`` whether dev could choose.
    """

    name: str
    dev: Mapping[str, float]
    general: Mapping[str, float]
    reason: str | None = None
    by_dev: bool = True


@dataclass(frozen=True)
class Choice:
    """The chosen weights, why they are, and whether dev chose them."""

    candidate: Candidate
    reason: str
    by_dev: bool = True


def select_weights(context: TrainingContext, model: SentenceTransformer, *, step: int) -> Selected:
    """Leave the selected weights in ``model``, which holds the tuned ones.

    ``trainer.select``, ``preferred_share``, ``merge``, ``metric`` and ``forgetting_floor`` say how.

    Args:
        context: The training, whose log holds the scores of the untuned and the tuned weights.
        model: The model.
        step: The step under which the scores of merged weights are logged.
    """
    settings, checkpoints = context.settings, context.checkpoints
    candidates = _trained_candidates(context)
    if settings.select == TUNED or not any(candidate.name == TUNED for candidate in candidates):
        others = () if settings.select == TUNED else (UNTUNED,)
        return _selected(TUNED, candidates, names=(TUNED, *others))
    checkpoints.save_tuned(model)
    candidates += [_merged_candidate(context, model, weight, step=step) for weight in settings.merge]
    eligible = [candidate for candidate in candidates if not forgets(candidate, candidates[0], settings)]
    choice = choose(eligible, settings)
    best = choice.candidate
    if best.share == 0:
        checkpoints.load_start(model)
        log.warning("No eligible weights scored above the untuned model on dev: it is kept.")
    else:
        checkpoints.load_mix(model, weight=best.share)
    scores = ", ".join(f"{candidate.name} {candidate.score:.4f}" for candidate in candidates)
    log.info("Selected the %s weights (%s): dev %s of %s.", best.name, choice.reason, settings.metric, scores)
    return _selected(best.name, candidates, choice)


def _selected(
    name: str,
    candidates: Sequence[Candidate],
    choice: Choice | None = None,
    *,
    names: Sequence[str] | None = None,
) -> Selected:
    """Return the selection; ``names`` are the weights that were considered, None for all."""
    dev = {each.name: each.score for each in candidates if names is None or each.name in names}
    general = {each.name: each.general for each in candidates if each.general is not None}
    if choice is None:
        return Selected(name, dev, general)
    return Selected(name, dev, general, choice.reason, choice.by_dev)


def choose(candidates: Sequence[Candidate], settings: SelectionSettings) -> Choice:
    """Choose by dev, or near ``preferred_share`` where dev cannot decide.

    Dev questions on which all candidates score the same tell nothing, whatever their number: the untuned
    weights are then not chosen, since nothing speaks for them. The one-standard-error rule (Breiman et al.
    1984) allows all candidates whose paired difference to the best is within its standard error. It needs
    the scores of ``MIN_DEV_QUESTIONS`` questions or more; fewer only rule out what they show to be harmful.

    Args:
        candidates: The eligible weights, at least one; of equal ones an earlier one is chosen.
        settings: ``select`` and ``preferred_share``.
    """
    best = max(candidates, key=lambda candidate: candidate.score)
    count = len(best.questions)
    trained = [candidate for candidate in candidates if candidate.share > 0]
    if len(trained) < len(candidates) > 1 and _all_alike(candidates):
        chosen = _nearest(trained, settings)
        log.warning(
            "All weights score %.3f on every dev question, which tells nothing: the %s weights are selected "
            "unseen. Give dev questions that the documents answer and that differ in difficulty (more "
            "documents, split.dev, split.test_types).",
            *(best.score, chosen.name),
        )
        return Choice(chosen, "dev tells nothing: all weights score the same", by_dev=False)
    if settings.select == "best" or not count:
        return Choice(best, f"the best on {count} dev questions" if count else "the best on dev")
    if count < MIN_DEV_QUESTIONS or settings.select == "preferred":
        untuned = next((candidate for candidate in candidates if candidate.share == 0), None)
        harmless = [each for each in trained if untuned is None or not _harmful(each, untuned)]
        chosen = _nearest(harmless or [each for each in candidates if each.share == 0], settings)
        if count < MIN_DEV_QUESTIONS:
            return Choice(chosen, f"{count} dev questions are too few to choose by", by_dev=False)
        return Choice(chosen, f"nearest to the preferred share of those that {count} dev questions allow")
    close = [candidate for candidate in candidates if _errors_below(candidate, best) <= 1]
    reason = f"within one standard error of the best on {count} dev questions"
    return Choice(_nearest(close, settings), reason)


def _nearest(candidates: Sequence[Candidate], settings: SelectionSettings) -> Candidate:
    preferred = settings.preferred_share
    return min(candidates, key=lambda each: (abs(each.share - preferred), -each.score))


def _all_alike(candidates: Sequence[Candidate]) -> bool:
    return len({(candidate.score, *candidate.questions) for candidate in candidates}) == 1


def _errors_below(candidate: Candidate, other: Candidate) -> float:
    """Return how many standard errors of the paired difference a candidate is below another."""
    import numpy as np

    difference = np.asarray(other.questions) - np.asarray(candidate.questions)
    if not difference.any():
        return 0.0
    error = difference.std(ddof=1) / len(difference) ** 0.5
    return float(difference.mean() / error) if error else math.copysign(math.inf, difference.mean())


def _harmful(candidate: Candidate, untuned: Candidate) -> bool:
    """Return whether even few questions show that these weights are worse than the untuned ones."""
    return len(candidate.questions) >= _FEWEST and _errors_below(candidate, untuned) > 2


def _trained_candidates(context: TrainingContext) -> list[Candidate]:
    """Return the untuned and the tuned weights, as far as dev has scored them."""
    settings, progress = context.settings, context.training_log.progress
    metric = f"dev_{GENERAL}{settings.metric}"
    candidates = []
    if progress.untuned_score is not None:
        general, questions = progress.at(0, metric), progress.untuned_questions
        candidates.append(
            Candidate(
                name=UNTUNED, share=0.0, score=progress.untuned_score, questions=questions, general=general
            )
        )
    if progress.best_score is not None:
        general, questions = progress.at(progress.best_step, metric), progress.best_questions
        candidates.append(
            Candidate(name=TUNED, share=1.0, score=progress.best_score, questions=questions, general=general)
        )
    return candidates


def _merged_candidate(
    context: TrainingContext, model: SentenceTransformer, weight: float, *, step: int
) -> Candidate:
    """Score an average of the untuned and the tuned weights, and log it."""
    metric = context.settings.metric
    context.checkpoints.load_mix(model, weight=weight)
    metrics = context.evaluate(model)
    point = {f"{MERGED}{key}": float(value) for key, value in metrics.items()}
    context.training_log.record(step, {"merge_weight": weight, **point})
    return Candidate(
        name=merged_name(weight),
        share=weight,
        score=float(metrics[metric]),
        questions=question_scores(metrics, metric),
        general=metrics.get(f"{GENERAL}{metric}"),
    )


def forgets(candidate: Candidate, untuned: Candidate, settings: SelectionSettings) -> bool:
    """Say whether these weights fall below ``forgetting_floor`` on the general set, and log it."""
    floor = settings.forgetting_floor
    if floor is None or candidate.share == 0 or candidate.general is None:
        return False
    if untuned.share > 0 or untuned.general is None or candidate.general >= floor * untuned.general:
        return False
    log.warning(
        "The %s weights are not eligible: on the general set they score %.4f and the untuned model %.4f, of "
        "which trainer.forgetting_floor=%g must be kept.",
        *(candidate.name, candidate.general, untuned.general, floor),
    )
    return True
