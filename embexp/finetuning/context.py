"""What the parts of one training share: its settings, log, checkpoints, recovery and dev evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from embexp.finetuning.checkpoints import Checkpoints, TrainingLog
from embexp.finetuning.recovery import Recovery
from embexp.finetuning.settings import TrainerSettings


def evaluation_steps(total: int, evaluations: int) -> frozenset[int]:
    """Return the steps after which to evaluate on dev: evenly spread, the first at 0, the last at the end.

    ``evaluation_steps(90, 4)`` is {0, 30, 60, 90}; a single evaluation comes at the end.
    """
    if evaluations < 2:
        return frozenset([total] * evaluations)
    return frozenset(round(total * number / (evaluations - 1)) for number in range(evaluations))


@dataclass(frozen=True, kw_only=True)
class TrainingContext:
    """What the callbacks of one training share.

    Args:
        settings: The trainer's settings.
        training_log: The log, with the scores so far.
        checkpoints: The checkpoints.
        recovery: What was changed after a divergence or a lack of memory.
        evaluate: Scores a model on dev; ``is_untuned`` says that it has not been trained yet.
        evaluations: How many dev evaluations to make; 0 if there are no dev pairs.
    """

    settings: TrainerSettings
    training_log: TrainingLog
    checkpoints: Checkpoints
    recovery: Recovery
    evaluate: Callable[..., Mapping[str, float]]
    evaluations: int

    def evaluates_after(self, step: int, *, total: int) -> bool:
        """Say whether to evaluate on dev after a step of ``total``."""
        return step in evaluation_steps(total, self.evaluations)
