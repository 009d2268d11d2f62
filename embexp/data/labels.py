"""How the label of a pair is read, in training and in scoring: positive or not, grade, score from 0 to 1."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from embexp.data.records import Pair
from embexp.errors import ConfigError, DataError
from embexp.ranges import MAX_LABEL, Label, check_ranges

log = logging.getLogger(__name__)

"""No scale of judgments is wider: a label beyond it is a mistake."""
_MAX_GRADE, _MIN_STARS, _MAX_RATING = 5, 4, 10
_MIN_PERCENTAGE = 50
_NUMBER = r"([+-]?\d+(?:[.,]\d+)*)"
_FORMS = (
    (re.compile(r"([+-]?\d{1,3}(?:\.\d{3})*,\d+|[+-]?\d*,\d+)"), "decimal comma"),
    (re.compile(_NUMBER + r" ?%"), "percentage"),
    (re.compile(_NUMBER + r" ?(?:/|of|out of) ?(\d+(?:[.,]\d+)?)"), "fraction"),
    (re.compile(_NUMBER + r" ?(?:stars?|★|⭐)|[★⭐]+[☆ ]*|☆+", re.IGNORECASE), "stars"),
)


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """How to read the labels of a data set where the labels themselves do not show it.

    Args:
        positive_from: The lowest label of a passage that answers its query; None follows ``label_scale``.
        label_range: The lowest and the highest label that can occur; None follows ``label_scale``.
    """

    positive_from: Label | None = None
    label_range: Sequence[Label] | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "dataset")
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

    Whole numbers up to 5 are relevance grades: 1 and above is relevant, as in qrels. If they begin at 1 and
    reach 4 or 5 they are ratings (stars), and so are whole numbers up to 10: positive from their middle.
    Other numbers are similarities, positive from the middle of what is not negative: 0.5 on [0, 1], 2.5 on
    [0, 5], 50 on [0, 100], and 0.5 on [-1, 1], where 0 says that two texts are unrelated, not that they agree
    by half. The range ends at the next whole number above the highest label (0.7 -> 1, 4.8 -> 5), at 100
    where that is above 50, and begins at 0, or at the next whole number below a negative label (-0.2 -> -1).
    Where no similarity reaches the middle, half of the highest one is taken instead.

    Call it once for a whole data set: the parts of a split must be read on one scale.

    Args:
        pairs: All pairs of the data set.
        settings: What the data set says about its labels.

    Raises:
        DataError: A label is not a number, or beyond what trec_eval can count.
    """
    settings = settings or LabelSettings()
    labels: set[float] = set()
    for pair in pairs:
        if pair.label is not None:
            if not math.isfinite(pair.label):
                raise DataError(
                    f"Pair {pair.id} has the label {pair.label}: give a number, or none for a plain positive."
                )
            if abs(pair.label) > MAX_LABEL:
                raise DataError(
                    f"Pair {pair.id} has the label {pair.label:g}, beyond {MAX_LABEL:,}: correct it."
                )
            labels.add(pair.label)
    kind, scale = _scale(labels)
    if settings.label_range is not None:
        low, high = map(float, settings.label_range)
        bar = scale.positive_from if scale.graded else (max(low, 0.0) + high) / 2
        scale = replace(scale, low=low, high=high, positive_from=bar)
    if settings.positive_from is not None:
        scale = replace(scale, positive_from=settings.positive_from)
    if labels:
        log.info("Labels from %g to %g, read as %s: %s.", min(labels), max(labels), kind, scale)
    return scale


def _scale(labels: set[float]) -> tuple[str, LabelScale]:
    """Return what labels seem to be, in words, and their scale."""
    lowest, highest = min(labels, default=0.0), max(labels, default=1.0)
    low, high = min(0.0, math.floor(lowest)), max(1.0, math.ceil(highest))
    whole = all(float(label).is_integer() for label in labels)
    if whole and highest <= _MAX_GRADE and not (lowest >= 1 and highest >= _MIN_STARS):
        return "grades", LabelScale(low=float(low), high=float(high), positive_from=1.0)
    if whole and highest <= _MAX_RATING and lowest >= 0:
        return "ratings", LabelScale(high=float(high), positive_from=(min(lowest, 1.0) + high) / 2)
    if _MIN_PERCENTAGE < highest <= 100:
        kind, high = "percentages", 100.0
    else:
        kind = "similarities"
    bar = (max(low, 0.0) + high) / 2
    if 0 < highest < bar:
        log.warning(
            "No label reaches %g, the midpoint of %g to %g: using %g instead.", bar, low, high, highest / 2
        )
        bar = highest / 2
    return kind, LabelScale(low=float(low), high=float(high), positive_from=bar, graded=False)


def read_label(value: object) -> tuple[float | None, str]:
    """Return the number that a label is, and in which form it is written where that is no plain number.

    Args:
        value: A number, or text such as ``0.9``, ``0,9``, ``90 %``, ``4/5``, ``4 stars`` or ``★★★★☆``.

    Returns:
        The number (None if there is none: a word, or NaN), and the name of the form ("decimal comma").
    """
    text = str(value).strip().replace("\u2212", "-").replace("\xa0", " ")
    try:
        return _finite(float(text)), ""
    except (ValueError, OverflowError):
        pass
    for pattern, form in _FORMS:
        if match := pattern.fullmatch(text):
            return _finite(_value(match, form)), form
    return None, ""


def _value(match: re.Match[str], form: str) -> float:
    if form == "stars" and match[1] is None:
        return float(sum(match[0].count(star) for star in "★⭐"))
    number = _number(match[1])
    if form == "fraction":
        whole = _number(match[2])
        return number / whole if whole else math.nan
    return number / 100 if form == "percentage" else number


def _number(text: str) -> float:
    """Return a number with a decimal point or comma; the other one, if there, groups its digits."""
    if text.rfind(",") > text.rfind("."):
        return float(text.replace(".", "").replace(",", "."))
    return float(text.replace(",", ""))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
