from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from embexp.benchmarking.judging import Judging
from embexp.benchmarking.systems import SystemCost
from embexp.data.records import Leaks
from embexp.reporting.outcome import Outcome
from embexp.reporting.tables import counted, signed
from embexp.reporting.verdict import advice, evidence, facts, headline, leaks_line

Change = Callable[..., Outcome]


def test_the_verdict_is_one_sentence_with_all_its_numbers(outcome: Outcome) -> None:
    assert headline(outcome) == (
        "WIN: the tuned model finds more: ndcg@10 0.500 → 0.750, +0.250 "
        "(95% interval +0.050 … +0.450, 4 questions from 3 documents)."
    )


@pytest.mark.parametrize(
    ("name", "interval", "start"),
    [
        ("NO EVIDENCE", (-0.01, 0.03), "NO EVIDENCE that the tuned model finds more or less: ndcg@10"),
        ("REGRESSION", (-0.05, -0.02), "REGRESSION: the tuned model finds less: ndcg@10"),
    ],
)
def test_the_other_verdicts_have_their_own_words(
    verdict: Change, name: str, interval: tuple[float, float], start: str
) -> None:
    assert headline(verdict(name, interval)).startswith(start)


def test_without_a_tuned_model_there_is_no_verdict(outcome: Outcome) -> None:
    bare = replace(outcome, comparison=None)
    assert headline(bare) == "No verdict: there is no tuned model to compare."
    assert evidence(bare) == ""
    assert "embexp.run" in advice(bare)[0]


def test_a_win_is_to_be_used(outcome: Outcome) -> None:
    assert advice(outcome) == ["Use the tuned model, after a look at the biggest losses in the report."]


def test_a_regression_says_to_keep_the_untuned_model_and_where_to_look(verdict: Change) -> None:
    first, second = advice(verdict("REGRESSION", (-0.05, -0.02)))
    assert first.startswith("Keep the untuned model")
    assert "data/train.jsonl" in second


def test_too_few_questions_are_told_how_many_it_takes(verdict: Change) -> None:
    # Half the interval is 0.03; 80% power for 0.02 needs 0.02 × 0.7 = 0.014.
    # 120 × (0.03 / 0.014)² = 551; by Student's t 543, rounded up to two digits: 550.
    found = " ".join(advice(verdict("NO EVIDENCE", (-0.025, 0.035), queries=120)))
    assert "120 test questions cannot tell differences below about 0.030 from chance" in found
    assert "takes about 550" in found


def test_a_narrow_interval_about_zero_means_that_there_is_nothing_to_find(verdict: Change) -> None:
    (found,) = advice(verdict("NO EVIDENCE", (-0.004, 0.009)))
    assert "below 0.009" in found
    assert "more test questions will not" in found


def test_an_interval_that_only_just_holds_zero_asks_for_some_more(verdict: Change) -> None:
    (found,) = advice(verdict("NO EVIDENCE", (-0.001, 0.025)))
    assert "only just holds zero" in found


@pytest.mark.parametrize(
    ("bm25", "hybrid", "expected"),
    [
        (0.7, 0.74, []),
        (0.8, 0.7, ["BM25, which needs no model"]),
        (0.7, 0.8, ["The tuned model and BM25 together"]),
        (0.8, 0.9, ["BM25, which needs no model", "The tuned model and BM25 together"]),
        (0.8, 0.78, ["BM25, which needs no model"]),
    ],
)
def test_a_better_system_than_the_tuned_model_is_named(
    outcome: Outcome, bm25: float, hybrid: float, expected: list[str]
) -> None:
    scores = {**outcome.scores, "bm25": {"ndcg@10": bm25}, "hybrid": {"ndcg@10": hybrid}}
    found = advice(replace(outcome, scores=scores))[1:]
    assert len(found) == len(expected)
    assert all(point.startswith(start) for point, start in zip(found, expected, strict=True))


def test_leaks_are_one_line() -> None:
    assert leaks_line(Leaks()) == "Leaks between splits: none found."
    assert leaks_line(Leaks(2, 12, 1, 12, 1)) == (
        "Leaks between splits: 2 shared documents, 12 near-duplicate passages, 1 near-duplicate question; "
        "13 pairs removed from train and dev."
    )


def test_facts_are_left_out_where_there_are_none(outcome: Outcome) -> None:
    assert facts(outcome) == [
        "Leaks between splits: 12 near-duplicate passages, 1 near-duplicate question; "
        "13 pairs removed from train and dev.",
        "Training: 1,500 pairs, 24 steps in 86 s (17.4 pairs/s), best at step 4.",
        "Index: chroma finds 99.5% of what exact search finds in its first 10.",
        "Taken from the cache: synthesize.",
    ]
    bare = replace(outcome, training=None, index=None, cached=(), leaks=Leaks())
    assert facts(bare) == ["Leaks between splits: none found."]


def test_numbers_are_spelled_for_people() -> None:
    assert signed(-0.0123) == "−0.012"
    assert counted(1, "question") == "1 question"
    assert counted(1200, "question") == "1,200 questions"


def test_training_without_a_best_step_does_not_name_one(outcome: Outcome) -> None:
    assert outcome.training
    bare = replace(outcome, training=replace(outcome.training, best_step=None))
    assert facts(bare)[1].endswith("(17.4 pairs/s).")


@pytest.mark.parametrize(
    ("system", "score", "expected"),
    [
        (
            "bge_base",
            0.8,
            "bge_base, untuned, scores higher than the tuned model here (0.800): weigh its costs.",
        ),
        ("bge_base", 0.75, None),  # no higher
        ("tuned int8", 0.8, None),  # no other model
        ("tuned reranked", 0.8, "Reranking lifts the tuned model from 0.750 to 0.800, at 12 ms a question."),
        ("tuned reranked", 0.7, None),
    ],
)
def test_a_further_system_that_does_better_is_told(
    outcome: Outcome, system: str, score: float, expected: str | None
) -> None:
    scores = {**outcome.scores, system: {"ndcg@10": score}}
    costs = {system: SystemCost(1.0, 0.012, 100)}
    found = advice(replace(outcome, scores=scores, systems=costs))
    assert found[len(advice(outcome)) :] == ([expected] if expected else [])


def test_a_language_model_s_judgments_are_told(outcome: Outcome) -> None:
    judged = replace(outcome, judging=Judging("gpt-oss", 120, unreadable=1, left_out=3, depth=10))
    assert (
        "Judged by gpt-oss, not by people: 120 passages, the first 10 of every system; what lies deeper "
        "counts as wrong. 1 passage got no readable grade; 3 questions without an answer left out."
    ) in facts(judged)
