"""Model selection: which of the untuned, the tuned and the merged weights are best on dev."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embexp.data.splitting import MIN_DEV_QUESTIONS
from embexp.finetuning.context import TrainingContext
from embexp.finetuning.settings import TrainerSettings
from embexp.finetuning.training import GENERAL, MERGED, merged_name, question_scores

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

UNTUNED, TUNED = "untuned", "tuned"


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
    """The name of the selected weights, why they are, and the scores of all on dev and on the general set."""

    name: str
    dev: Mapping[str, float]
    general: Mapping[str, float]
    reason: str | None = None


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
    eligible = [candidate for candidate in candidates if not _forgets(candidate, candidates[0], settings)]
    best, reason = choose(eligible, settings)
    if best.share == 0:
        checkpoints.load_start(model)
        log.warning("No eligible weights scored above the untuned model on dev: it is kept.")
    else:
        checkpoints.load_mix(model, weight=best.share)
    scores = ", ".join(f"{candidate.name} {candidate.score:.4f}" for candidate in candidates)
    log.info("Selected the %s weights (%s): dev %s of %s.", best.name, reason, settings.metric, scores)
    return _selected(best.name, candidates, reason)


def _selected(
    name: str,
    candidates: Sequence[Candidate],
    reason: str | None = None,
    *,
    names: Sequence[str] | None = None,
) -> Selected:
    """Return the selection; ``names`` are the weights that were considered, None for all."""
    dev = {each.name: each.score for each in candidates if names is None or each.name in names}
    general = {each.name: each.general for each in candidates if each.general is not None}
    return Selected(name, dev, general, reason)


def choose(candidates: Sequence[Candidate], settings: TrainerSettings) -> tuple[Candidate, str]:
    """Choose by dev, or near ``preferred_share`` where dev cannot decide; return why, too.

    Dev questions on which all candidates score the same tell nothing, whatever their number: the untuned
    weights are then not chosen, since nothing speaks for them. The one-standard-error rule (Breiman et al.
    1984) allows all candidates whose paired difference to the best is within its standard error; it needs
    the scores of at least ``MIN_DEV_QUESTIONS`` questions, below which dev decides nothing.

    Args:
        candidates: The eligible weights, at least one; of equal ones an earlier one is chosen.
        settings: ``select`` and ``preferred_share``.
    """
    best = max(candidates, key=lambda candidate: candidate.score)
    preferred = settings.preferred_share

    def nearest(allowed: Sequence[Candidate]) -> Candidate:
        return min(allowed, key=lambda each: (abs(each.share - preferred), -each.score))

    trained = [candidate for candidate in candidates if candidate.share > 0]
    count = len(best.questions)
    if len(trained) < len(candidates) > 1 and _all_alike(candidates):
        chosen = nearest(trained)
        log.warning(
            "All weights score %.3f on every dev question, which tells nothing: the %s weights are selected "
            "unseen. Give dev questions that the documents answer and that differ in difficulty (more "
            "documents, split.dev, split.test_types).",
            *(best.score, chosen.name),
        )
        return chosen, "dev tells nothing: all weights score the same"
    if settings.select != "one_standard_error" or not count:
        return best, f"the best on {count} dev questions" if count else "the best on dev"
    if count < MIN_DEV_QUESTIONS:
        chosen = nearest(trained or candidates)
        return chosen, f"{count} dev questions are too few to choose by"
    close = [candidate for candidate in candidates if _within_one_error(candidate, best)]
    chosen = nearest(close)
    return chosen, f"within one standard error of the best on {count} dev questions"


def _all_alike(candidates: Sequence[Candidate]) -> bool:
    return len({(candidate.score, *candidate.questions) for candidate in candidates}) == 1


def _within_one_error(candidate: Candidate, best: Candidate) -> bool:
    import numpy as np

    difference = np.asarray(best.questions) - np.asarray(candidate.questions)
    return bool(difference.mean() <= difference.std(ddof=1) / len(difference) ** 0.5)


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


def _forgets(candidate: Candidate, untuned: Candidate, settings: TrainerSettings) -> bool:
    """Say whether these weights fall below the floor, and log it."""
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
