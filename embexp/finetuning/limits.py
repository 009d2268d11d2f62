"""What the trainer's settings may be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from embexp.errors import ConfigError

if TYPE_CHECKING:
    from embexp.finetuning.trainer import SentenceTransformerFineTuner


def check_settings(settings: SentenceTransformerFineTuner) -> None:
    """Check the settings of a trainer.

    Raises:
        ConfigError: One is out of its range; the message names it.
    """
    least = {
        "epochs": 1, "batch_size": 2, "max_tokens": 8, "max_pairs": 2, "evaluations": 0, "patience": 1,
        "hard_negatives": 0, "length_pool": 0, "retries": 0,
    }  # fmt: skip
    for name, lowest in least.items():
        value = getattr(settings, name)
        if value is not None and value < lowest:
            raise ConfigError(f"trainer.{name}={value}: must be {lowest} or more.")
    if not (math.isfinite(settings.negative_gap) and settings.negative_gap >= 0):
        raise ConfigError(f"trainer.negative_gap={settings.negative_gap}: must be 0 or more.")
    for name in ("learning_rate", "max_grad_norm", "checkpoint_seconds"):
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"trainer.{name}={value}: must be above 0.")
    for name in ("warmup_ratio", "weight_decay", "dropout", "attention_dropout"):
        value = getattr(settings, name)
        if value is not None and not 0 <= value < 1:
            raise ConfigError(f"trainer.{name}={value}: must be in [0, 1).")
    for name in ("negative_margin", "forgetting_floor"):
        value = getattr(settings, name)
        if value is not None and not 0 < value <= 1:
            raise ConfigError(f"trainer.{name}={value}: must be in (0, 1].")
    ranks = list(settings.negative_ranks)
    if len(ranks) != 2 or not 0 <= ranks[0] < ranks[1]:
        raise ConfigError(f"trainer.negative_ranks={ranks}: give two rising ranks, such as [0, 20].")
    if not all(0 < weight < 1 for weight in settings.merge):
        raise ConfigError(
            f"trainer.merge={list(settings.merge)}: give shares between 0 and 1, such as [0.5]."
        )
