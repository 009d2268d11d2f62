"""How the label of a pair is read, in training and in scoring: positive or not, grade, score from 0 to 1."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from embexp.data.records import Pair
from embexp.errors import ConfigError, DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """How to read the labels of a data set where the labels themselves do not show it.

    Args:
        positive_from: The lowest label of a passage that answers its query; None follows ``label_scale``.
        label_range: The lowest and the highest label that can occur; None follows ``label_scale``.
    """

    positive_from: float | None = None
    label_range: Sequence[float] | None = None

    def __post_init__(self) -> None:
        ends = self.label_range
        if ends is not None and (len(ends) != 2 or not ends[0] < ends[1]):
            raise ConfigError(
                f"dataset.label_range={list(ends)}: give the lowest and the highest label, such as [1, 5]."
            )


@dataclass(frozen=True, kw_only=True)
class LabelScale:
    """How labels are read: ``low`` scores 0 and ``high`` 1, ``positive_from`` and above is a positive.

    ``graded`` says that labels are whole-number grades, as in qrels, and not similarities. A pair without a
    label is a plain positive: grade 1, score 1.
    """

    low: float = 0.0
    high: float = 1.0
    positive_from: float = 1.0
    graded: bool = True

    def is_positive(self, label: float | None) -> bool:
        """Return whether a passage with this label answers its query."""
        return label is None or label >= self.positive_from

    def grade(self, label: float | None) -> int:
        """Return the relevance grade as trec_eval reads it: 0 is irrelevant, 1 and above relevant."""
        if not self.is_positive(label):
            return 0
        return max(int(label), 1) if label is not None and self.graded else 1

    def score(self, label: float | None) -> float:
        """Return the label rescaled to [0, 1]."""
        if label is None:
            return 1.0
        return min(max((label - self.low) / (self.high - self.low), 0.0), 1.0)

    def __str__(self) -> str:
        return (
            f"{self.positive_from:g} and above is a positive (dataset.positive_from), {self.low:g} to "
            f"{self.high:g} is a score of 0 to 1 (dataset.label_range)"
        )


def label_scale(pairs: Iterable[Pair], settings: LabelSettings | None = None) -> LabelScale:
    """Read the scale off the labels that occur, and log how they are understood.

    Whole numbers are relevance grades: 1 and above is relevant, as in qrels. Other numbers are
    similarities, positive from the middle of what is not negative: 0.5 on [0, 1], 2.5 on [0, 5], and 0.5 on
    [-1, 1], where 0 says that two texts are unrelated, not that they agree by half. The range ends at the
    next whole number above the highest label (0.7 -> 1, 4.8 -> 5) and begins at 0, or at the next whole
    number below a negative label (-0.2 -> -1).

    Call it once for a whole data set: the parts of a split must be read on one scale.

    Args:
        pairs: All pairs of the data set.
        settings: What the data set says about its labels.

    Raises:
        DataError: A label is not a number.
    """
    settings = settings or LabelSettings()
    labels: set[float] = set()
    for pair in pairs:
        if pair.label is not None:
            if not math.isfinite(pair.label):
                raise DataError(
                    f"Pair {pair.id} has the label {pair.label}: give a number, or none for a plain positive."
                )
            labels.add(pair.label)
    lowest, highest = min(labels, default=0.0), max(labels, default=1.0)
    low, high = settings.label_range or (min(0.0, math.floor(lowest)), max(1.0, math.ceil(highest)))
    graded = all(float(label).is_integer() for label in labels)
    bar = settings.positive_from
    if bar is None:
        bar = 1.0 if graded else (max(low, 0.0) + high) / 2
    scale = LabelScale(low=float(low), high=float(high), positive_from=bar, graded=graded)
    if labels:
        log.info("Labels from %g to %g: %s.", lowest, highest, scale)
    return scale
