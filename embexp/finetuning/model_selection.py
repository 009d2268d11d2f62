"""Model selection: the best on dev among the untuned, the tuned and the merged weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embexp.finetuning.context import TrainingContext
from embexp.finetuning.settings import TrainerSettings
from embexp.finetuning.training import GENERAL, MERGED, merged_name

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

UNTUNED, TUNED = "untuned", "tuned"


@dataclass(frozen=True)
class Selected:
    """The name of the selected weights, and the scores of all candidates on dev and on the general set."""

    name: str
    dev: Mapping[str, float]
    general: Mapping[str, float]


def select_weights(context: TrainingContext, model: SentenceTransformer, *, step: int) -> Selected:
    """Leave the selected weights in ``model``, which holds the tuned ones.

    ``trainer.select``, ``merge``, ``metric`` and ``forgetting_floor`` say how.

    Args:
        context: The training, whose log holds the scores of the untuned and the tuned weights.
        model: The model.
        step: The step under which the scores of merged weights are logged.
    """
    settings, checkpoints = context.settings, context.checkpoints
    dev, general = _logged_scores(context)
    if TUNED not in dev or settings.select == TUNED:
        return Selected(TUNED, dev, general)
    checkpoints.save_tuned(model)
    shares = {merged_name(weight): weight for weight in settings.merge}
    for name, weight in shares.items():
        checkpoints.load_mix(model, weight=weight)
        metrics = context.evaluate(model)
        dev[name] = float(metrics[settings.metric])
        if (metric := f"{GENERAL}{settings.metric}") in metrics:
            general[name] = float(metrics[metric])
        point = {f"{MERGED}{key}": float(value) for key, value in metrics.items()}
        context.training_log.record(step, {"merge_weight": weight, **point})
    kept = {name: score for name, score in dev.items() if not _forgets(name, general, settings)}
    best = max(kept, key=kept.__getitem__)
    if best == UNTUNED:
        checkpoints.load_start(model)
        log.warning("No eligible weights scored above the untuned model on dev: it is kept.")
    else:
        checkpoints.load_mix(model, weight=shares.get(best, 1.0))
    scores = ", ".join(f"{name} {score:.4f}" for name, score in dev.items())
    log.info("Selected the %s weights: dev %s of %s.", best, settings.metric, scores)
    return Selected(best, dev, general)


def _logged_scores(context: TrainingContext) -> tuple[dict[str, float], dict[str, float]]:
    """Return the scores of the untuned and the tuned weights on dev and on the general set."""
    settings, progress = context.settings, context.training_log.progress
    metric = f"dev_{GENERAL}{settings.metric}"
    dev = {UNTUNED: progress.untuned_score, TUNED: progress.best_score}
    general = {UNTUNED: progress.at(0, metric), TUNED: progress.at(progress.best_step, metric)}
    if settings.select == TUNED:
        dev.pop(UNTUNED)
    return (
        {name: score for name, score in dev.items() if score is not None},
        {name: score for name, score in general.items() if score is not None},
    )


def _forgets(name: str, general: Mapping[str, float], settings: TrainerSettings) -> bool:
    """Say whether these weights fall below the floor, and log it."""
    floor = settings.forgetting_floor
    if floor is None or name == UNTUNED or not {name, UNTUNED} <= general.keys():
        return False
    if general[name] >= floor * general[UNTUNED]:
        return False
    log.warning(
        "The %s weights are not eligible: on the general set they score %.4f and the untuned model %.4f, of "
        "which trainer.forgetting_floor=%g must be kept.",
        *(name, general[name], general[UNTUNED], floor),
    )
    return True
