"""How a fine-tune went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

GENERAL = "general_"
"""Before the name of a metric: what a model in training scores on a general set, to see what it forgets."""


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One point of the training log: ``metrics`` holds loss, learning_rate or dev metrics."""

    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Training:
    """What a fine-tune did; ``seconds`` leaves out what an earlier, interrupted run had spent.

    ``delivered`` names the weights that came out (untuned, tuned, "merged 0.5"), and ``candidates`` gives
    the dev score of each that was considered; ``general`` their scores on a general set, where there is one.
    """

    pairs: int
    steps: int
    seconds: float
    pairs_per_second: float
    resumed_from: int | None = None
    best_step: int | None = None
    history: Sequence[TrainingStep] = ()
    delivered: str | None = None
    candidates: Mapping[str, float] = field(default_factory=dict)
    general: Mapping[str, float] = field(default_factory=dict)

    def best(self, metric: str) -> float | None:
        """Return the highest value of a metric on dev, None where it was never scored."""
        return max(self.dev(metric), default=None)

    def dev(self, metric: str) -> list[float]:
        """Return a metric's values on dev, in the order of the steps."""
        name = f"dev_{metric}"
        return [step.metrics[name] for step in self.history if name in step.metrics]


@dataclass(frozen=True, slots=True)
class Registered:
    """A version of a model in the model registry; ``alias`` is empty where none points to it."""

    name: str
    version: int
    alias: str = ""
