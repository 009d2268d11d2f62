"""What a pair's label means: from which value it is a positive, and its score between 0 and 1."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from embexp.data.records import Pair
from embexp.errors import ConfigError, DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LabelScale:
    """How labels are read: ``low`` and ``high`` become 0 and 1, ``positive_from`` and more is a positive."""

    low: float = 0.0
    high: float = 1.0
    positive_from: float = 0.5

    def score(self, label: float | None) -> float:
        """Return a label on the scale from 0 to 1; a pair without one is a plain positive, 1."""
        if label is None:
            return 1.0
        return min(max((label - self.low) / (self.high - self.low), 0.0), 1.0)

    def is_positive(self, label: float | None) -> bool:
        """Say whether a passage with this label answers its query."""
        return label is None or label >= self.positive_from


def label_scale(
    pairs: Sequence[Pair], *, positive_from: float | None = None, label_range: Sequence[float] | None = None
) -> LabelScale:
    """Read the scale off the labels that occur, and say in the log how they are understood.

    Whole numbers are relevance grades, of which 1 and more is relevant, as in qrels. Numbers within
    [0, 1] are similarities, positive from 0.5. Any other numbers are similarities on a scale from 0
    (or from the lowest, if that is below 0) to the highest, positive from its middle.

    Args:
        pairs: The training pairs.
        positive_from: The lowest label of a positive, where the rule above is wrong.
        label_range: The lowest and the highest label that there can be, where the data do not show it.

    Raises:
        DataError: A label is not a number.
        ConfigError: ``label_range`` is not two rising numbers.
    """
    labels = sorted({pair.label for pair in pairs if pair.label is not None})
    if bad := [pair for pair in pairs if pair.label is not None and not math.isfinite(pair.label)]:
        raise DataError(
            f"Pair {bad[0].id} has the label {bad[0].label}: give a number, or none for a plain positive."
        )
    if label_range is not None:
        if len(label_range) != 2 or not label_range[0] < label_range[1]:
            raise ConfigError(
                f"trainer.label_range={list(label_range)}: give the lowest and the highest label, "
                "such as [1, 5]."
            )
        low, high = label_range
    elif not labels or (labels[0] >= 0 and labels[-1] <= 1):
        low, high = 0.0, 1.0
    else:
        low, high = min(0.0, labels[0]), labels[-1] if labels[-1] > min(0.0, labels[0]) else 1.0
    if positive_from is None:
        grades = all(float(label).is_integer() for label in labels)
        positive_from = 1.0 if grades else (low + high) / 2
    scale = LabelScale(low=low, high=high, positive_from=positive_from)
    if labels:
        log.info(
            "Labels from %g to %g: %g and more is a positive (trainer.positive_from), %g to %g is a score "
            "of 0 to 1 (trainer.label_range).",
            *(labels[0], labels[-1], scale.positive_from, scale.low, scale.high),
        )
    return scale
