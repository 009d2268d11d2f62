"""What comes out of a training: the best on dev among the untuned, the tuned and the merged weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from embexp.finetuning.checkpoints import Checkpoints, Progress
from embexp.finetuning.training import GENERAL

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)


UNTUNED, TUNED = "untuned", "tuned"


@dataclass(frozen=True)
class Chosen:
    """The chosen weights' name, and the scores of all that were considered, on dev and on the general set."""

    name: str
    dev: Mapping[str, float]
    general: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The rule that chooses.

    Args:
        deliver: ``best`` for the best on dev, ``tuned`` for the trained weights whatever dev says.
        merge: Shares of the tuned weights in a mean with the untuned ones.
        metric: The dev metric that decides.
        floor: The share of the untuned model's score on the general set, if one is asked, that trained or
            merged weights must keep to be delivered; None asks for nothing.
    """

    deliver: Literal["best", "tuned"]
    merge: Sequence[float]
    metric: str
    floor: float | None = None

    def choose(
        self,
        model: SentenceTransformer,
        checkpoints: Checkpoints,
        progress: Progress,
        *,
        evaluate: Callable[[SentenceTransformer], Mapping[str, float]],
        record: Callable[[Mapping[str, float]], None],
    ) -> Chosen:
        """Leave the chosen weights in ``model``, which holds the tuned ones."""
        scores, general = self._trained(progress)
        if progress.best_score is None or self.deliver == TUNED:
            return Chosen(TUNED, scores, general)
        checkpoints.save_tuned(model)
        shares = {f"merged {weight:g}": weight for weight in self.merge}
        for name, weight in shares.items():
            checkpoints.load_mix(model, weight=weight)
            metrics = evaluate(model)
            scores[name] = float(metrics[self.metric])
            found = {f"merged_{self.metric}": scores[name]}
            if (asked := f"{GENERAL}{self.metric}") in metrics:
                general[name] = found[f"merged_{asked}"] = float(metrics[asked])
            record({"merge_weight": weight, **found})
        kept = {name: score for name, score in scores.items() if not self._forgets(name, general)}
        best = max(kept, key=kept.__getitem__)
        if best == UNTUNED:
            checkpoints.load_start(model)
            log.warning("No weights that may be delivered scored above the untuned model on dev: it stays.")
        else:
            checkpoints.load_mix(model, weight=shares.get(best, 1.0))
        told = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
        log.info("Delivering the %s weights: dev %s of %s.", best, self.metric, told)
        return Chosen(best, scores, general)

    def _trained(self, progress: Progress) -> tuple[dict[str, float], dict[str, float]]:
        """Return the scores of the untuned and the tuned weights on dev and on the general set, as logged."""
        asked = f"dev_{GENERAL}{self.metric}"
        dev = {UNTUNED: progress.untuned_score, TUNED: progress.best_score}
        general = {UNTUNED: progress.at(0, asked), TUNED: progress.at(progress.best_step, asked)}
        if self.deliver == TUNED:
            dev.pop(UNTUNED)
        return (
            {name: score for name, score in dev.items() if score is not None},
            {name: score for name, score in general.items() if score is not None},
        )

    def _forgets(self, name: str, general: Mapping[str, float]) -> bool:
        """Say whether these weights fall below the floor, and tell why they are left out."""
        if self.floor is None or name == UNTUNED or not {name, UNTUNED} <= general.keys():
            return False
        if general[name] >= self.floor * general[UNTUNED]:
            return False
        log.warning(
            "The %s weights are not delivered: on the general set they score %.4f where the untuned model "
            "scores %.4f, and trainer.forgetting_floor=%g asks for that share.",
            *(name, general[name], general[UNTUNED], self.floor),
        )
        return True
