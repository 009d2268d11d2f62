"""The verdict, what to do next and the facts behind it, as sentences for console, report and model card."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from embexp.benchmarking.repeats import LearningCurve, Repeat, Seeds
from embexp.benchmarking.statistics.comparison import MIN_CLUSTERS, Comparison, Verdict
from embexp.benchmarking.statistics.power import EFFECTS, ENOUGH_POWER, power, questions_needed
from embexp.benchmarking.systems import OWN_SYSTEMS, TUNED, UNTUNED
from embexp.benchmarking.teacher_gate import consequence
from embexp.data.truncation import nothing_is_cut, truncation_lines
from embexp.finetuning.training import Training
from embexp.reporting.outcome import Outcome
from embexp.reporting.questions import questions_fact, seen_advice, seen_note, worth_of_the_questions
from embexp.reporting.tables import counted, interval_text, signed, training_time
from embexp.reporting.threshold import threshold_fact

EFFECT = 0.02
"""A difference in nDCG that people notice in use; smaller ones are rarely worth more pairs."""


def headline(outcome: Outcome) -> str:
    """Return the verdict and its numbers as one sentence; a run without a tuned model has no verdict."""
    if outcome.comparison is None:
        return "No verdict: there is no tuned model to compare."
    verdict = outcome.comparison.verdict
    return f"{verdict}: {VERDICTS[verdict].result}, {evidence(outcome)}."


def evidence(outcome: Outcome) -> str:
    """Return the numbers behind the verdict: before, after, difference, interval and sample size."""
    comparison = outcome.comparison
    if comparison is None:
        return ""
    before = outcome.scores["untuned"][comparison.metric]
    after = outcome.scores["tuned"][comparison.metric]
    note = seen_note(outcome)
    return (
        f"{comparison.metric} {before:.3f} → {after:.3f}, {signed(comparison.delta)} "
        f"(95% interval {interval_text(comparison.interval)}, {counted(comparison.queries, 'question')} "
        f"from {counted(comparison.clusters, 'document')}{f', {note}' if note else ''})"
    )


LABEL_FREE_GAINS, DEFAULT_GAINS = "+.065 nDCG@10, the model alone +.031", "+.058 and +.017"
"""Mean gains on people's questions, as docs/what_to_expect.md records them."""
TWO_STAGES_LOSS = "query_distill"
"""The loss of ``experiment=label_free``, whose first stage has a plan, too."""
FIRST = "accuracy@1"


def in_plain_words(outcome: Outcome) -> str:
    """Return the result for readers who do not know the metrics: how many of 100 questions find their answer.

    It is empty without a tuned model, or where ``accuracy@1`` was not measured.
    """
    scores, comparison = outcome.scores, outcome.comparison
    if comparison is None or any(FIRST not in scores.get(name, {}) for name in (UNTUNED, TUNED)):
        return ""
    before, after = (round(100 * scores[name][FIRST]) for name in (UNTUNED, TUNED))
    if before == after:
        return f"Of 100 questions, {before} have the right answer first, as many as before tuning."
    chance = "" if comparison.better or comparison.worse else "; the difference may be chance"
    change = f"{before} had the right answer first before tuning, and {after} have it now"
    return f"Of 100 questions, {change}{chance}."


def advice(outcome: Outcome) -> list[str]:
    """Return what to do next, as one or two sentences per point."""
    comparison = outcome.comparison
    if comparison is None:
        return [
            "Train one with python -m embexp.finetune, or run the whole pipeline with python -m embexp.run."
        ]
    if outcome.training and outcome.training.best_step == 0:
        return [
            "No training step scored higher on dev than the untuned model, so the untuned weights were kept "
            "and both models are identical. Try more pairs, another loss or a lower trainer.learning_rate.",
            *_advice_on_documents_alone(outcome),
        ]
    return [
        *_advice_on_the_model(outcome, comparison),
        *seen_advice(outcome),
        *_advice_on_dev(outcome.training),
        *_advice_on_documents_alone(outcome),
        *_advice_on_seeds(outcome.seeds),
        *_advice_on_other_systems(outcome, comparison.metric),
    ]


def _advice_on_the_model(outcome: Outcome, comparison: Comparison) -> list[str]:
    """Return what to do with the model; without BM25, where the retriever with BM25 has the other one."""
    first, *others = VERDICTS[comparison.verdict].advice(comparison)
    retriever, won = outcome.retriever, comparison.better
    if retriever is not None and retriever.weight and (retriever.model == TUNED) != won:
        first = f"For search by vectors alone, {first[0].lower()}{first[1:]}"
    return [first, *others]


def _after_win(_: Comparison) -> list[str]:
    return ["Use the tuned model; read the biggest losses in the report first."]


def _after_no_evidence(comparison: Comparison) -> list[str]:
    if comparison.clusters < MIN_CLUSTERS:
        return [
            f"Keep the untuned model for now: with fewer than {MIN_CLUSTERS} documents the test cannot tell, "
            f"and these questions come from {comparison.clusters}. Add documents."
        ]
    low, high = comparison.interval
    bound, half = max(abs(low), abs(high)), (high - low) / 2
    if bound <= EFFECT:
        return [
            f"Keep the untuned model: any difference is below {bound:.3f}. "
            "More or better pairs or another loss may change that; more test questions will not."
        ]
    needed = questions_needed(comparison, EFFECT)
    if needed <= comparison.queries:
        return [
            "Keep the untuned model for now: the interval only just includes zero, and a few more test "
            "questions may settle it."
        ]
    return [
        "Keep the untuned model for now.",
        f"{counted(comparison.queries, 'test question')} cannot tell differences below about {half:.3f} from "
        f"chance; detecting a difference of {EFFECT} with {ENOUGH_POWER:.0%} power takes about "
        f"{_rounded_up(needed):,}. Add documents or questions, or train on more pairs.",
    ]


def _after_regression(_: Comparison) -> list[str]:
    return [
        "Keep the untuned model: training made retrieval worse on unseen questions.",
        "The usual causes are passages that do not answer their query, too high a learning rate and too many "
        "epochs: read the biggest losses in the report and a few lines of data/train.jsonl.",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """How a verdict is presented: all that reporting knows of it.

    Args:
        result: What happened to retrieval, in words.
        on_general_set: The same on the general set that shows forgetting.
        advice: Returns what to do next.
        doubt: What the test says against serving a retriever with this verdict; empty for nothing.
        style: The console's style, as rich writes it.
        tone: The report's CSS class.
    """

    result: str
    on_general_set: str
    advice: Callable[[Comparison], list[str]]
    doubt: str
    style: str
    tone: str


VERDICTS: Mapping[Verdict, Wording] = {
    "WIN": Wording(
        result="retrieval improved",
        on_general_set="retrieval improved there, too",
        advice=_after_win,
        doubt="",
        style="bold green",
        tone="win",
    ),
    "NO EVIDENCE": Wording(
        result="no clear change in retrieval",
        on_general_set="no clear change",
        advice=_after_no_evidence,
        doubt="On the test questions it is not clearly better than the untuned model alone.",
        style="bold yellow",
        tone="unsure",
    ),
    "REGRESSION": Wording(
        result="retrieval got worse",
        on_general_set="retrieval got worse there",
        advice=_after_regression,
        doubt="On the test questions the untuned model alone is better.",
        style="bold red",
        tone="loss",
    ),
}


def _advice_on_dev(training: Training | None) -> list[str]:
    """Return a warning if the weights were selected without dev."""
    if training is None or training.chosen_by_dev:
        return []
    return [
        f"The {training.selected} weights were selected unseen, since {training.reason}. Give more questions "
        "that the documents answer, or raise split.dev."
    ]


def _advice_on_documents_alone(outcome: Outcome) -> list[str]:
    """Return how to learn more from documents, where they alone were the teacher, in one stage."""
    plan = outcome.training.plan if outcome.training else None
    if plan is None or not plan.documents_alone or outcome.loss == TWO_STAGES_LOSS:
        return []
    return [
        "Only what was cut out of the documents taught this model. experiment=label_free trains on it in two "
        f"stages: on the mean of seven data sets the recommended retriever gained {LABEL_FREE_GAINS}; "
        f"trained in one stage {DEFAULT_GAINS}."
    ]


def _advice_on_seeds(seeds: Seeds | None) -> list[str]:
    """Return a warning if the verdict differs between training seeds."""
    if seeds is None or len({run.comparison.verdict for run in seeds.runs}) == 1:
        return []
    return [
        f"The verdict depends on the training seed ({_verdict_counts(seeds)}): on average over the "
        f"seeds, the difference is {signed(seeds.comparison.delta)} "
        f"(95% interval {interval_text(seeds.comparison.interval)})."
    ]


def _verdict_counts(seeds: Seeds) -> str:
    """Return how often each verdict occurs: ``2 WIN, 1 NO EVIDENCE``."""
    counts = Counter(run.comparison.verdict for run in seeds.runs)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


def _advice_on_other_systems(outcome: Outcome, metric: str) -> list[str]:
    """Name what scores higher than the tuned model: BM25, the hybrid, another model.

    The hybrid is named only where no retriever was chosen, whose own lines say what BM25 adds.
    """
    scores = {system: values[metric] for system, values in outcome.scores.items() if metric in values}
    tuned, bm25 = scores.get("tuned"), scores.get("bm25")
    hybrid = scores.get("hybrid") if outcome.retriever is None else None
    points = []
    if tuned is not None and bm25 is not None and bm25 > tuned:
        points.append(f"BM25, which needs no model, scores higher than the tuned model here ({bm25:.3f}).")
    if tuned is not None and hybrid is not None and hybrid > max(tuned, bm25 or 0.0):
        points.append(
            f"The tuned model combined with BM25 scores higher still: {hybrid:.3f} with retriever=hybrid."
        )
    others = {name: score for name, score in scores.items() if name.partition(" ")[0] not in OWN_SYSTEMS}
    best = max(others, key=lambda name: others[name], default=None)
    if best is not None and tuned is not None and others[best] > tuned:
        points.append(
            f"{best}, untuned, scores higher than the tuned model here ({others[best]:.3f}): "
            "compare their costs."
        )
    return points


def _rounded_up(number: int) -> int:
    """Round up to two digits: nobody needs 1,237 questions rather than 1,300."""
    unit = int(10 ** max(len(str(number)) - 2, 0))
    return math.ceil(number / unit) * unit


def _leaks(outcome: Outcome) -> str:
    leaks = outcome.leaks
    kinds = [
        (leaks.documents, "shared document"),
        (leaks.near_duplicate_chunks, "near-duplicate passage"),
        (leaks.near_duplicate_queries, "near-duplicate question"),
    ]
    if not any(number for number, _ in kinds):
        return "Leaks between splits: none found."
    removed = leaks.removed_from_train + leaks.removed_from_dev
    named = ", ".join(counted(number, name) for number, name in kinds if number)
    return f"Leaks between splits: {named}; {counted(removed, 'pair')} removed from train and dev."


def _power(outcome: Outcome) -> str:
    """Return which true differences the test set is too small to detect; empty if it detects them all.

    It is empty, too, for too few documents, for which the verdict is NO EVIDENCE anyway.
    """
    comparison = outcome.comparison
    if comparison is None or comparison.clusters < MIN_CLUSTERS:
        return ""
    chances = {effect: power(comparison, effect) for effect in EFFECTS}
    weak = [effect for effect, chance in chances.items() if chance < ENOUGH_POWER]
    if not weak:
        return ""
    named = ", ".join(f"{chance:.0%} for {effect}" for effect, chance in chances.items())
    needed = ", ".join(
        f"{_rounded_up(questions_needed(comparison, effect)):,} for {effect}" for effect in weak
    )
    return (
        f"Power: the chance that this test set detects a true difference is {named}. "
        f"Questions needed for {ENOUGH_POWER:.0%} power: about {needed}."
    )


def _seeds(outcome: Outcome) -> str:
    seeds = outcome.seeds
    if seeds is None:
        return ""
    return (
        f"Seeds: {seeds.metric} {seeds.mean:.3f} on average over {len(seeds.runs)} training seeds "
        f"({seeds.min:.3f} … {seeds.max:.3f}, standard deviation {seeds.std:.3f}), "
        f"{signed(seeds.comparison.delta)} against the untuned model "
        f"(95% interval {interval_text(seeds.comparison.interval)}); "
        f"verdicts of the single seeds: {_verdict_counts(seeds)}."
    )


def _learning_curve(outcome: Outcome) -> str:
    curve = outcome.learning_curve
    if curve is None:
        return ""
    steps = ", ".join(f"{point.score:.3f} with {_part_of(point)}" for point in curve.points)
    return f"Learning curve: {curve.metric} {steps}. {more_pairs(curve)}"


def _part_of(point: Repeat) -> str:
    """Return ``25% of the pairs``, or ``all 1,500 pairs``."""
    return f"all {counted(point.pairs, 'pair')}" if point.share == 1 else f"{point.share:.0%} of the pairs"


def more_pairs(curve: LearningCurve) -> str:
    """Return whether more pairs would help, judged by the last step of the learning curve."""
    delta, (low, high) = signed(curve.last.delta), curve.last.interval
    step = f"{delta} (95% interval {interval_text((low, high))}) from {_part_of(curve.points[-2])} to all"
    if curve.last.better:
        return f"More pairs are likely to help: the score is still rising, {step}."
    if curve.last.worse:
        return f"More pairs of this kind would not help: the score falls, {step}. Check their quality."
    if high < EFFECT and curve.last.clusters >= MIN_CLUSTERS:
        return f"More pairs of this kind would hardly help: the score has levelled off, {step}."
    questions = counted(curve.last.queries, "test question")
    return f"{questions} cannot tell whether more pairs would help: {step}."


def _forgetting(outcome: Outcome) -> str:
    forgetting = outcome.forgetting
    if forgetting is None:
        return ""
    comparison = forgetting.comparison
    before, after = (forgetting.scores[name][comparison.metric] for name in ("untuned", "tuned"))
    return (
        f"Forgetting: {comparison.metric} on {forgetting.task} {before:.3f} → {after:.3f}, "
        f"{signed(comparison.delta)} (95% interval {interval_text(comparison.interval)}, "
        f"{counted(comparison.queries, 'question')}): {VERDICTS[comparison.verdict].on_general_set}."
    )


def _suite(outcome: Outcome) -> str:
    scores = [
        f"{each.task} ({each.kind}, {each.metric}) {each.untuned:.3f}"
        + ("" if each.tuned is None else f" → {each.tuned:.3f}")
        for each in outcome.suite
    ]
    return f"MTEB scores, without intervals: {'; '.join(scores)}." if scores else ""


def _training(outcome: Outcome) -> str:
    training = outcome.training
    if training is None:
        return ""
    best = "" if training.best_step is None else f", best at step {training.best_step:,}"
    if training.selected and len(training.candidates) > 1:
        scores = ", ".join(f"{name} {score:.3f}" for name, score in training.candidates.items())
        best += f"; selected the {training.selected} weights (dev scores: {scores})"
    if training.transliterated:
        best += f"; {training.transliterated.capitalize()} letters of questions are transliterated"
    if training.new_tokens:
        new = counted(training.new_tokens, "token")
        phonetic = "phonetic spellings of the documents' words"
        spelled = "words that the tokenizer spelled letter by letter"
        best += f"; {new} added for {phonetic if training.transliterated else spelled}"
    return (
        f"Training: {counted(training.pairs, 'pair')}, {counted(training.steps, 'step')} in "
        f"{training_time(training)} ({training.pairs_per_second:,.1f} pairs/s){best}."
    )


def _teacher(outcome: Outcome) -> str:
    gate = outcome.teacher
    return f"Teacher: {gate.reason}. {consequence(gate)}".rstrip() if gate else ""


def _index(outcome: Outcome) -> str:
    index = outcome.index
    if index is None:
        return ""
    return (
        f"Index: {index.retriever} returns {index.recall:.1%} of the first {index.k} results of exact search."
    )


def _judging(outcome: Outcome) -> str:
    judging = outcome.judging
    if judging is None:
        return ""
    line = (
        f"Relevance was judged by {judging.model}, not by people: {counted(judging.pairs, 'passage')}, "
        f"the first {judging.depth} of every system; lower ranks count as irrelevant."
    )
    if judging.unreadable:
        line += f" {counted(judging.unreadable, 'passage')} got no readable grade."
    if judging.left_out:
        line += f" Left out: {counted(judging.left_out, 'question')} without an answer."
    return line


def _cache(outcome: Outcome) -> str:
    return f"Taken from the cache: {', '.join(outcome.cached)}." if outcome.cached else ""


def _truncation(outcome: Outcome) -> str:
    if not outcome.truncation:
        return ""
    lines = truncation_lines(outcome.truncation) or [nothing_is_cut(outcome.truncation)]
    return f"Truncation: {' '.join(lines)}"


_FACTS: Mapping[str, Callable[[Outcome], str]] = {
    "questions": questions_fact,
    "worth": worth_of_the_questions,
    "leaks": _leaks,
    "truncation": _truncation,
    "power": _power,
    "seeds": _seeds,
    "learning_curve": _learning_curve,
    "forgetting": _forgetting,
    "suite": _suite,
    "training": _training,
    "teacher": _teacher,
    "index": _index,
    "score_threshold": threshold_fact,
    "judging": _judging,
    "cache": _cache,
}


def facts(outcome: Outcome, topics: Sequence[str] = tuple(_FACTS)) -> list[str]:
    """Return a line on each topic (``leaks``, ``power``, ``seeds`` …) that applies to the run."""
    return [line for topic in topics if (line := _FACTS[topic](outcome))]
