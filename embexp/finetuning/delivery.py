"""What comes out of a training: the best on dev among the untuned, the tuned and the merged weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from embexp.finetuning.checkpoints import Checkpoints, Progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)
UNTUNED, TUNED = "untuned", "tuned"


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The rule that chooses.

    Args:
        deliver: ``best`` for the best on dev, ``tuned`` for the trained weights whatever dev says.
        merge: Shares of the tuned weights in a mean with the untuned ones.
        metric: The dev metric that decides.
    """

    deliver: Literal["best", "tuned"]
    merge: Sequence[float]
    metric: str

    def choose(
        self,
        model: SentenceTransformer,
        checkpoints: Checkpoints,
        progress: Progress,
        *,
        evaluate: Callable[[SentenceTransformer], Mapping[str, float]],
        record: Callable[[Mapping[str, float]], None],
    ) -> tuple[str, dict[str, float]]:
        """Leave the chosen weights in ``model``, which holds the tuned ones.

        Returns:
            The name of the chosen weights, and the dev score of all that were considered.
        """
        if progress.best_score is None:
            if progress.untuned_score is not None:
                return TUNED, {UNTUNED: progress.untuned_score}
            return TUNED, {}
        scores = {TUNED: progress.best_score}
        if self.deliver == TUNED:
            return TUNED, scores
        if progress.untuned_score is not None:
            scores = {UNTUNED: progress.untuned_score, **scores}
        checkpoints.save_tuned(model)
        shares = {f"merged {weight:g}": weight for weight in self.merge}
        for name, weight in shares.items():
            checkpoints.load_mix(model, weight=weight)
            scores[name] = float(evaluate(model)[self.metric])
            record({"merge_weight": weight, f"merged_{self.metric}": scores[name]})
        best = max(scores, key=scores.__getitem__)
        if best == UNTUNED:
            checkpoints.load_start(model)
            log.warning("No step scored above the untuned model on dev: its weights stay.")
        else:
            checkpoints.load_mix(model, weight=shares.get(best, 1.0))
        told = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
        log.info("Delivering the %s weights: dev %s of %s.", best, self.metric, told)
        return best, scores
