"""What the report says about questions that nobody asked."""

from __future__ import annotations

import pytest

from embexp.benchmarking.seen_documents import AskedQuestions
from embexp.reporting.outcome import Outcome
from embexp.reporting.questions import worth_of_the_questions
from embexp.reporting.verdict import facts


def asking(outcome: Outcome, **kinds: int) -> Outcome:
    total = sum(kinds.values())
    asked = AskedQuestions(benchmark="heldout", total=total, held_out=True, kinds=kinds)
    return outcome.model_copy(update={"questions": asked})


def test_questions_cut_out_of_the_documents_come_with_what_they_are_worth(outcome: Outcome) -> None:
    line = worth_of_the_questions(asking(outcome, summary=1200, sentence=80))

    assert "cut out of the documents (1,200 summary, 80 sentence)" in line
    assert "test on 50 questions of your own" in line
    assert line in facts(asking(outcome, summary=1200, sentence=80))


def test_questions_by_a_language_model_are_said_to_be_so(outcome: Outcome) -> None:
    line = worth_of_the_questions(asking(outcome, troubleshooting=30, sentence=5))

    assert "a language model wrote them (30 troubleshooting, 5 sentence)" in line


@pytest.mark.parametrize("kinds", [{"human": 60}, {"human": 1, "sentence": 200}, {}])
def test_nothing_is_said_where_people_asked(outcome: Outcome, kinds: dict[str, int]) -> None:
    assert worth_of_the_questions(asking(outcome, **kinds)) == ""


def test_nothing_is_said_about_runs_that_did_not_record_their_questions(outcome: Outcome) -> None:
    assert worth_of_the_questions(outcome.model_copy(update={"questions": None})) == ""
