"""Comparing many systems at once, with p-values corrected for the number of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.comparison import Comparison, compare

LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Contrast:
    """``system`` minus ``base``, one of several; ``holm_p`` is corrected for how many there are."""

    base: str
    system: str
    comparison: Comparison
    holm_p: float

    @property
    def result(self) -> Literal["higher", "lower", "no evidence"]:
        """How ``system`` scores against ``base``: a difference needs a verdict and a corrected p < 0.05."""
        if self.holm_p >= LEVEL:
            return "no evidence"
        return "higher" if self.comparison.better else "lower" if self.comparison.worse else "no evidence"


def contrasts(
    scores: Mapping[str, Scores],
    pairs: Sequence[tuple[str, str]],
    *,
    metric: str,
    clusters: Mapping[str, str],
    resamples: int = 10_000,
    seed: int = 0,
) -> list[Contrast]:
    """Compare pairs of systems on the same questions, with Holm's correction over all of them.

    The greater of the bootstrap's and the randomisation test's p is corrected, so that what stays
    significant is so by both.

    Args:
        scores: System -> scores, all on the same questions.
        pairs: Pairs of systems, the base first.
        metric: The metric to compare.
        clusters: Query id -> source document.
        resamples: How many resamples each test draws.
        seed: Seeds the tests.

    Returns:
        One contrast for each pair, in their order.

    Raises:
        DataError: Two systems were not asked the same questions, or none at all.
        ConfigError: A system has no such metric.
    """
    comparisons = [
        compare(scores[base], scores[other], metric=metric, clusters=clusters, resamples=resamples, seed=seed)
        for base, other in pairs
    ]
    corrected = _holm([max(each.p, each.randomisation_p or 0.0) for each in comparisons])
    return [
        Contrast(base=base, system=other, comparison=comparison, holm_p=p)
        for (base, other), comparison, p in zip(pairs, comparisons, corrected, strict=True)
    ]


def _holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected so that the chance of any false positive among them stays at the level.

    The i-th smallest of m is multiplied by m − i + 1, is never below the one before it, and is capped
    at 1 (Holm, Scandinavian Journal of Statistics 6, 1979).
    """
    corrected = [0.0] * len(values)
    highest = 0.0
    for rank, at in enumerate(sorted(range(len(values)), key=lambda at: values[at])):
        highest = max(highest, min(1.0, values[at] * (len(values) - rank)))
        corrected[at] = highest
    return corrected
