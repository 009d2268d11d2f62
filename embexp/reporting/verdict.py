"""Seeds and the learning curve in plain words: how much is luck, and whether more pairs would help."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from embexp.benchmarking.repeats import LearningCurve, Repeat, Seeds
from embexp.benchmarking.statistics.comparison import MIN_CLUSTERS, Comparison
from embexp.benchmarking.statistics.power import EFFECTS, ENOUGH_POWER, power, questions_needed
from embexp.data.leaks import Leaks
from embexp.reporting.outcome import Outcome
from embexp.reporting.tables import counted, signed, spelled

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


FINDING = {
    "WIN": "WIN: the tuned model finds more",
    "NO EVIDENCE": "NO EVIDENCE that the tuned model finds more or less",
    "REGRESSION": "REGRESSION: the tuned model finds less",
}
OWN_SYSTEMS = ("untuned", "tuned", "bm25", "hybrid")


def evidence(outcome: Outcome) -> str:
    """Return the numbers behind the verdict: before, after, difference, interval, sample."""
    comparison = outcome.comparison
    if comparison is None:
        return ""
    before = outcome.scores["untuned"][comparison.metric]
    after = outcome.scores["tuned"][comparison.metric]
    low, high = comparison.interval
    return (
        f"{comparison.metric} {before:.3f} → {after:.3f}, {signed(comparison.delta)} "
        f"(95% interval {signed(low)} … {signed(high)}, {counted(comparison.queries, 'question')} "
        f"from {counted(comparison.clusters, 'document')})"
    )


def headline(outcome: Outcome) -> str:
    """Return the verdict as one sentence; a run without a tuned model has none."""
    if outcome.comparison is None:
        return "No verdict: there is no tuned model to compare."
    return f"{FINDING[outcome.comparison.verdict]}: {evidence(outcome)}."


def advice(outcome: Outcome) -> list[str]:
    """Return what to do next, one sentence or two per point."""
    comparison = outcome.comparison
    if comparison is None:
        return [
            "Train one with python -m embexp.finetune, or run the whole pipeline with python -m embexp.run."
        ]
    if outcome.training and outcome.training.best_step == 0:
        return [
            "No step of the training scored higher on dev than the untuned model, so its weights were kept "
            "and both models are the same. Try more pairs, another loss or a lower trainer.learning_rate."
        ]
    points = {"WIN": _after_win, "NO EVIDENCE": _after_nothing, "REGRESSION": _after_regression}
    return [
        *points[comparison.verdict](comparison),
        *seeds_advice(outcome),
        *_other_systems(outcome, comparison.metric),
    ]


def _after_win(_: Comparison) -> list[str]:
    return ["Use the tuned model, after a look at the biggest losses in the report."]


def _after_nothing(comparison: Comparison) -> list[str]:
    low, high = comparison.interval
    bound, half = max(abs(low), abs(high)), (high - low) / 2
    if bound <= EFFECT:
        return [
            f"Keep the untuned model: whatever the difference is, it is below {bound:.3f}. "
            "More pairs, better pairs or another loss may change that; more test questions will not."
        ]
    needed = questions_needed(comparison, EFFECT)
    if needed <= comparison.queries:
        return [
            "Keep the untuned model for now: the interval only just holds zero, and some more test questions "
            "may settle it."
        ]
    return [
        "Keep the untuned model for now.",
        f"{counted(comparison.queries, 'test question')} cannot tell differences below about {half:.3f} from "
        f"chance; to find one of {EFFECT} four times in five takes about {_rounded(needed):,}. Add documents "
        "or questions, or train on more pairs.",
    ]


def _after_regression(_: Comparison) -> list[str]:
    return [
        "Keep the untuned model: training has made retrieval worse on questions that it has not seen.",
        "The usual causes are pairs whose passage does not answer the query, too high a learning rate or too "
        "many epochs: read the biggest losses in the report and some lines of data/train.jsonl.",
    ]


def _other_systems(outcome: Outcome, metric: str) -> list[str]:
    scores = {system: values[metric] for system, values in outcome.scores.items() if metric in values}
    tuned, bm25, hybrid = (scores.get(system) for system in ("tuned", "bm25", "hybrid"))
    points = []
    if tuned is not None and bm25 is not None and bm25 > tuned:
        points.append(f"BM25, which needs no model, scores higher than the tuned one here ({bm25:.3f}).")
    if tuned is not None and hybrid is not None and hybrid > max(tuned, bm25 or 0.0):
        points.append(
            f"The tuned model and BM25 together score higher still: {hybrid:.3f} with retriever=hybrid."
        )
    return [*points, *_further_models(scores), *_reranked(outcome, scores)]


def _further_models(scores: Mapping[str, float]) -> list[str]:
    """Say whether another model, as it is, scores higher than the tuned one."""
    others = {
        name: value
        for name, value in scores.items()
        if name not in OWN_SYSTEMS and name.partition(" ")[0] not in ("untuned", "tuned")
    }
    best = max(others, key=lambda name: others[name], default=None)
    if best is None or "tuned" not in scores or others[best] <= scores["tuned"]:
        return []
    return [
        f"{best}, untuned, scores higher than the tuned model here ({others[best]:.3f}): weigh its costs."
    ]


def _reranked(outcome: Outcome, scores: Mapping[str, float]) -> list[str]:
    for name in ("tuned", "untuned"):
        after, cost = scores.get(f"{name} reranked"), outcome.systems.get(f"{name} reranked")
        if after is not None and cost is not None and after > scores[name]:
            took = f"{cost.query_seconds * 1e3:,.0f} ms a question"
            return [f"Reranking lifts the {name} model from {scores[name]:.3f} to {after:.3f}, at {took}."]
    return []


def _rounded(number: int) -> int:
    """Round up to two digits: nobody needs 1,237 questions rather than 1,300."""
    unit = int(10 ** max(len(str(number)) - 2, 0))
    return math.ceil(number / unit) * unit


def leaks_line(leaks: Leaks) -> str:
    """Return the leak audit in one line."""
    found = [
        (leaks.documents, "shared document"),
        (leaks.near_duplicate_chunks, "near-duplicate passage"),
        (leaks.near_duplicate_queries, "near-duplicate question"),
    ]
    if not any(number for number, _ in found):
        return "Leaks between splits: none found."
    removed = leaks.removed_from_train + leaks.removed_from_dev
    named = ", ".join(counted(number, name) for number, name in found if number)
    return f"Leaks between splits: {named}; {counted(removed, 'pair')} removed from train and dev."


def power_line(outcome: Outcome) -> str:
    """Return which true differences the test set is too small to see; empty where it sees them all.

    It is empty, too, for fewer than 10 documents, which lead to no verdict anyway.
    """
    comparison = outcome.comparison
    if comparison is None or comparison.clusters < MIN_CLUSTERS:
        return ""
    chances = {effect: power(comparison, effect) for effect in EFFECTS}
    weak = [effect for effect, chance in chances.items() if chance < ENOUGH_POWER]
    if not weak:
        return ""
    named = ", ".join(f"{chance:.0%} for {effect}" for effect, chance in chances.items())
    needed = ", ".join(f"{_rounded(questions_needed(comparison, effect)):,} for {effect}" for effect in weak)
    return (
        f"Power: the chance that this test set shows a true difference is {named}. "
        f"Questions for a chance of {ENOUGH_POWER:.0%}: about {needed}."
    )


def forgetting_line(outcome: Outcome) -> str:
    """Return what tuning did to the general set; empty where none was asked."""
    found = outcome.forgetting
    if found is None:
        return ""
    comparison = found.comparison
    before, after = (found.scores[name][comparison.metric] for name in ("untuned", "tuned"))
    told = {
        "WIN": "the tuned model finds more there, too",
        "NO EVIDENCE": "no evidence that anything was lost or won there",
        "REGRESSION": "the tuned model has lost something there",
    }[comparison.verdict]
    return (
        f"Forgetting: {comparison.metric} on {found.task} {before:.3f} → {after:.3f}, "
        f"{signed(comparison.delta)} (95% interval {spelled(comparison.interval)}, "
        f"{counted(comparison.queries, 'question')}): {told}."
    )


def suite_line(outcome: Outcome) -> str:
    """Return what tasks of other kinds came to before and after tuning; empty where none was scored."""
    told = [
        f"{each.task} ({each.kind}, {each.metric}) {each.untuned:.3f}"
        + ("" if each.tuned is None else f" → {each.tuned:.3f}")
        for each in outcome.suite
    ]
    return f"MTEB's own scores, one number each and no interval: {'; '.join(told)}." if told else ""


def facts(outcome: Outcome) -> list[str]:
    """Return leaks, power, repeats, training, index and cache in a line each, where there is one to say."""
    found = [
        leaks_line(outcome.leaks),
        power_line(outcome),
        seeds_line(outcome),
        curve_line(outcome),
        forgetting_line(outcome),
        suite_line(outcome),
        training_line(outcome),
        index_line(outcome),
        judging_line(outcome),
        cache_line(outcome),
    ]
    return [line for line in found if line]


def training_line(outcome: Outcome) -> str:
    """Return what training did; empty where there was none."""
    training = outcome.training
    if training is None:
        return ""
    best = "" if training.best_step is None else f", best at step {training.best_step:,}"
    if training.delivered and len(training.candidates) > 1:
        told = ", ".join(f"{name} {score:.3f}" for name, score in training.candidates.items())
        best += f"; delivered: the {training.delivered} weights (on dev: {told})"
    return (
        f"Training: {counted(training.pairs, 'pair')}, {counted(training.steps, 'step')} in "
        f"{training.seconds:,.0f} s ({training.pairs_per_second:,.1f} pairs/s){best}."
    )


def index_line(outcome: Outcome) -> str:
    """Return how the approximate index compares with exact search; empty where there is none."""
    index = outcome.index
    if index is None:
        return ""
    share = f"{index.recall:.1%}"
    return f"Index: {index.retriever} finds {share} of what exact search finds in its first {index.k}."


def judging_line(outcome: Outcome) -> str:
    """Return what a language model judged; empty where people's judgments, or none, were needed."""
    judging = outcome.judging
    if judging is None:
        return ""
    rest = [
        f"{counted(number, word)} {what}"
        for number, word, what in (
            (judging.unreadable, "passage", "got no readable grade"),
            (judging.left_out, "question", "without an answer left out"),
        )
        if number
    ]
    return (
        f"Judged by {judging.model}, not by people: {counted(judging.pairs, 'passage')}, the first "
        f"{judging.depth} of every system; what lies deeper counts as wrong. {'; '.join(rest)}"
    ).rstrip() + ("." if rest else "")


def cache_line(outcome: Outcome) -> str:
    """Return which stages were not worked on again; empty where all were."""
    return f"Taken from the cache: {', '.join(outcome.cached)}." if outcome.cached else ""
