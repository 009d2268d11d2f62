"""Seeds and the learning curve in plain words: how much is luck, and whether more pairs would help."""

from __future__ import annotations

from collections import Counter

from embexp.reporting.words import counted, signed, spelled
from embexp.types import LearningCurve, Outcome, Repeat, Seeds

EFFECT = 0.02
"""A difference in nDCG that people notice in use; smaller ones are rarely worth more pairs."""


def seeds_line(outcome: Outcome) -> str:
    """Return what the training seeds did to the score; empty where there was one seed."""
    seeds = outcome.seeds
    if seeds is None:
        return ""
    scores = [run.score for run in seeds.runs]
    change = seeds.comparison
    return (
        f"Seeds: {seeds.metric} {seeds.mean:.3f} on average over {len(scores)} training seeds "
        f"({min(scores):.3f} … {max(scores):.3f}, standard deviation {seeds.std:.3f}). Against the untuned "
        f"model that is {signed(change.delta)} (95% interval {spelled(change.interval)}); "
        f"seed by seed: {verdicts(seeds)}."
    )


def verdicts(seeds: Seeds) -> str:
    """Return how often each verdict came out: ``2 WIN, 1 NO EVIDENCE``."""
    found = Counter(run.comparison.verdict for run in seeds.runs)
    return ", ".join(f"{count} {verdict}" for verdict, count in found.most_common())


def seeds_advice(outcome: Outcome) -> list[str]:
    """Return a warning where the verdict hangs on the training seed; nothing where it does not."""
    seeds = outcome.seeds
    if seeds is None or len({run.comparison.verdict for run in seeds.runs}) == 1:
        return []
    return [
        f"The verdict hangs on the training seed ({verdicts(seeds)}): what a recipe gives on average over "
        f"the seeds is {signed(seeds.comparison.delta)} ({spelled(seeds.comparison.interval)})."
    ]


def curve_line(outcome: Outcome) -> str:
    """Return what parts of the pairs gave, and whether more would help; empty where nothing was tried."""
    curve = outcome.learning_curve
    if curve is None:
        return ""
    steps = ", ".join(f"{point.score:.3f} with {part_of(point)}" for point in curve.points)
    return f"Learning curve: {curve.metric} {steps}. {more_pairs(curve)}"


def part_of(point: Repeat) -> str:
    """Return ``25% of the pairs``, or ``all 1,500 pairs``."""
    return f"all {counted(point.pairs, 'pair')}" if point.share == 1 else f"{point.share:.0%} of the pairs"


def more_pairs(curve: LearningCurve) -> str:
    """Return whether more pairs would help, as the last step of the curve tells."""
    low, high = curve.last.interval
    change = f"{signed(curve.last.delta)} (95% interval {spelled((low, high))})"
    step = f"from {part_of(curve.points[-2])} to all, {change}."
    if curve.last.verdict == "WIN":
        return f"More pairs are likely to help. The score still rises: {step}"
    if curve.last.verdict == "REGRESSION":
        return f"More pairs of this kind would not help; look at their quality. The score falls: {step}"
    if high < EFFECT:
        return f"More pairs of this kind would hardly help. The score has levelled off: {step}"
    asked = counted(curve.last.queries, "test question")
    return f"{asked} cannot tell whether more pairs would help: {step}"
