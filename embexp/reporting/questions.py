"""Which questions the verdict rests on, in words: whose they are, and what training has seen of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embexp.benchmarking.seen_documents import QuestionGroup
from embexp.benchmarking.systems import TUNED, UNTUNED
from embexp.data.records import EXTRACTED
from embexp.data.splitting import HUMAN
from embexp.reporting.outcome import Outcome
from embexp.reporting.tables import counted, interval_text, signed

SYNTHETIC_GAIN, PEOPLES_GAIN = "+.089", "+.055"
"""Mean gains of the recommended retriever, as docs/what_to_expect.md records them."""
SEEN = "about documents seen in training"
UNSEEN = "about documents not seen in training"


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A kind of question in the report's table."""

    name: str
    group: QuestionGroup


def group_rows(outcome: Outcome) -> list[GroupRow]:
    """Return both kinds of question; none where training has seen no document that is asked about."""
    asked = outcome.questions
    if asked is None or asked.seen is None:
        return []
    groups = ((SEEN, asked.seen), (UNSEEN, asked.unseen))
    return [GroupRow(name, group) for name, group in groups if group is not None]


def seen_note(outcome: Outcome) -> str:
    """Return ``48 of them about documents seen in training``; empty where there is none."""
    asked = outcome.questions
    if asked is None or asked.seen is None:
        return ""
    number = "all" if asked.seen.queries == asked.total else f"{asked.seen.queries:,}"
    return f"{number} of them {SEEN}"


def whose_questions(outcome: Outcome) -> str:
    """Return which questions gave the verdict, with the model card's words; empty in runs of old versions."""
    asked = outcome.questions
    if asked is None:
        return ""
    name = "the test split" if asked.held_out else f"the benchmark {asked.benchmark}"
    note = seen_note(outcome)
    return f"{counted(asked.total, 'question')} of {name}{f', {note}' if note else ''}"


def unused_test_pairs(outcome: Outcome) -> int:
    """Return how many pairs of the test split were not asked, because the benchmark has its own questions."""
    asked, pairs = outcome.questions, outcome.counts.get("pairs")
    if asked is None or asked.held_out or not isinstance(pairs, dict):
        return 0
    return int(pairs.get("test", 0))


def questions_fact(outcome: Outcome) -> str:
    """Return whose questions were asked, and the scores of both kinds; empty where there is one kind only.

    That is where the questions are those of the test split and training has seen none of their documents.
    """
    asked = outcome.questions
    if asked is None or (asked.held_out and asked.seen is None):
        return ""
    line = f"Questions: {whose_questions(outcome)}."
    if unused := unused_test_pairs(outcome):
        line += f" The {counted(unused, 'pair')} of the test split were not asked."
    if asked.trained_on:
        line += f" Training pairs ask {asked.trained_on:,} of them, or nearly the same: these scores flatter."
    kinds = [_scored(row, outcome.metric) for row in group_rows(outcome)]
    return f"{line} {' '.join(kinds)}".strip()


def _scored(row: GroupRow, metric: str | None) -> str:
    group = row.group
    name = f"{counted(group.queries, 'question')} {row.name}"
    comparison = group.comparison
    if comparison is not None:
        before, after = (group.scores[system][comparison.metric] for system in (UNTUNED, TUNED))
        return (
            f"{name}: {comparison.metric} {before:.3f} → {after:.3f}, {signed(comparison.delta)} "
            f"(95% interval {interval_text(comparison.interval)}), {comparison.verdict}."
        )
    value = group.scores[UNTUNED][metric] if metric else None
    return f"{name}: {metric} {value:.3f}." if value is not None else f"{name}."


def worth_of_the_questions(outcome: Outcome) -> str:
    """Return what a verdict on questions that nobody asked is worth; empty where people asked any of them."""
    asked = outcome.questions
    if asked is None or not asked.kinds or HUMAN in asked.kinds:
        return ""
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in asked.kinds.items())
    if not EXTRACTED.issuperset(asked.kinds):
        return (
            f"Nobody asked these questions: a language model wrote them ({kinds}). They resemble those of "
            "training more than people's do. Before you rely on it, test on 50 questions of your own."
        )
    return (
        f"Nobody asked these questions: they were cut out of the documents ({kinds}), and share more words "
        "with the passages than people's do. Where both were measured, the recommended retriever gained "
        f"{SYNTHETIC_GAIN} nDCG@10 on such questions and {PEOPLES_GAIN} on people's, on the mean over data "
        "sets. Before you rely on it, test on 50 questions of your own."
    )


def seen_advice(outcome: Outcome) -> Sequence[str]:
    """Return a warning where a gain is shown for documents seen in training alone."""
    asked = outcome.questions
    if asked is None or asked.seen is None or outcome.comparison is None or not outcome.comparison.better:
        return ()
    if asked.unseen is None or asked.unseen.comparison is None:
        return (
            "Every question asks about a document seen in training: how the model does on documents that it "
            "does not know was not measured.",
        )
    unseen = asked.unseen.comparison
    if unseen.better:
        return ()
    return (
        f"The gain is shown for documents seen in training. On the {counted(unseen.queries, 'question')} "
        f"{UNSEEN} the change is {signed(unseen.delta)} (95% interval {interval_text(unseen.interval)}): "
        f"{unseen.verdict}.",
    )
