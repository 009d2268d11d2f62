"""A reranker in words: which model is better before it, whether it helps each, and what to serve."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from embexp.benchmarking.reranking import Reranking
from embexp.benchmarking.statistics.comparison import Comparison
from embexp.benchmarking.systems import SystemCost
from embexp.reporting.console import print_outcome
from embexp.reporting.outcome import Outcome
from embexp.reporting.report import Report, write_model_card, write_report
from embexp.reporting.reranking import reranking_headline, reranking_points, reranking_rows
from embexp.reporting.tracked_results import description, further_metrics

VERDICTS = {"+": "WIN", "0": "NO EVIDENCE", "-": "REGRESSION"}


def compared(sign: str) -> Comparison:
    delta = {"+": 0.1, "0": 0.01, "-": -0.1}[sign]
    return Comparison("ndcg@10", delta, (delta - 0.05, delta + 0.05), 0.03, 200, 80, VERDICTS[sign])


def with_reranker(outcome: Outcome, signs: str, *, tuning: str = "+") -> Outcome:
    """Return the outcome with a reranker.

    Args:
        outcome: One without.
        signs: The signs of all five comparisons, in the order of the fields; of one alone there is no tuned
            model.
        tuning: The sign of the verdict on the models alone.
    """
    comparisons = [compared(sign) for sign in signs]
    assert outcome.comparison
    scores = {**outcome.scores, "untuned reranked": {"ndcg@10": 0.62}, "tuned reranked": {"ndcg@10": 0.66}}
    return outcome.model_copy(
        update={
            "reranking": Reranking("cross-encoder/a_b", 100, *comparisons),
            "scores": scores,
            "systems": {name: SystemCost(1.0, 0.04 if "r" in name[-8:] else 0.01, 100) for name in scores},
            "comparison": replace(outcome.comparison, verdict=VERDICTS[tuning]) if len(signs) > 1 else None,
        }
    )


@pytest.mark.parametrize(
    ("signs", "line"),
    [
        ("+++++", "tuned + reranker is better than untuned + reranker"),
        ("++-++", "untuned + reranker is better than tuned + reranker"),
        ("++0++", "tuned + reranker is not clearly better or worse than untuned + reranker"),
        ("+", "untuned + reranker is better than the untuned model alone"),
        ("-", "the untuned model alone is better than untuned + reranker"),
        ("0", "untuned + reranker is not clearly better or worse than the untuned model alone"),
    ],
)
def test_the_headline_says_which_is_better_with_its_verdict_last(
    outcome: Outcome, signs: str, line: str
) -> None:
    found = reranking_headline(with_reranker(outcome, signs))
    assert found.startswith(f"Reranker: {line}: ndcg@10 ")
    assert found.endswith(f": {VERDICTS[signs[2 if len(signs) > 1 else 0]]}")


def test_the_headline_has_both_scores_and_the_interval(outcome: Outcome) -> None:
    assert "ndcg@10 0.620 → 0.660, +0.100 (95% interval +0.050 … +0.150)" in reranking_headline(
        with_reranker(outcome, "+++++")
    )


@pytest.mark.parametrize(
    ("signs", "helps", "instead"),
    [
        (
            "+-+++",
            ("helps the untuned", "hurts the tuned"),
            "Untuned + reranker is better than the tuned model",
        ),
        (
            "0+++-",
            ("does not clearly change the untuned", "helps the tuned"),
            "Untuned + reranker is better than the tuned",
        ),
        ("--+--", ("hurts the untuned", "hurts the tuned"), "The tuned model alone is better than untuned +"),
    ],
)
def test_whether_it_helps_or_hurts_each_is_said(
    outcome: Outcome, signs: str, helps: tuple[str, str], instead: str
) -> None:
    first, second, _ = reranking_points(with_reranker(outcome, signs))
    assert first.startswith(f"The reranker {helps[0]} model (0.500 → 0.620, ")
    assert f" and {helps[1]} model (0.750 → 0.660, " in first
    assert second.startswith(instead)


ADVICE = {
    "helps all": ("+++++", "+", "Serve the tuned model with the reranker: search is clearly better"),
    "helps the tuned": ("0++++", "+", "Serve the tuned model with the reranker: search is clearly better"),
    "tuning hurts it": (
        "++-++",
        "+",
        "Serve the untuned model with the reranker, although the tuned model alone is better: search is",
    ),
    "tuning hurts it, and it hurts": (
        "+---+",
        "+",
        "Serve the tuned model without the reranker: with it search is worse.",
    ),
    "nothing gained after tuning": (
        "+000+",
        "+",
        "Serve the tuned model without the reranker: with it search is not clearly better, and each",
    ),
    "hurts": ("-----", "0", "Serve the untuned model without the reranker: with it search is worse."),
    "helps, tuning does not": ("++0++", "0", "Serve the untuned model with the reranker: search is clearly"),
    "tuning helps it alone": (
        "+++++",
        "0",
        "Serve the tuned model with the reranker, which tuning helps: search is clearly better",
    ),
    "one model": ("+", "+", "Serve the untuned model with the reranker: search is clearly better, and each"),
    "one model, no gain": ("0", "+", "Serve the untuned model without the reranker: with it search is not"),
}


@pytest.mark.parametrize(("signs", "tuning", "advice"), ADVICE.values(), ids=ADVICE)
def test_the_advice_is_one_sentence(outcome: Outcome, signs: str, tuning: str, advice: str) -> None:
    *_, last = reranking_points(with_reranker(outcome, signs, tuning=tuning))
    assert last.startswith(advice)
    assert last.count(". ") == 0
    assert ("takes 30 ms more." in last) == (not last.endswith("is worse."))


def test_with_a_retriever_the_advice_is_for_vectors_alone(served: Outcome) -> None:
    assert reranking_points(with_reranker(served, "+++++"))[-1].startswith(
        "For search by vectors alone, serve the tuned model with the reranker"
    )


def test_a_run_without_a_reranker_says_nothing_of_one(outcome: Outcome, tmp_path: Path) -> None:
    assert (reranking_headline(outcome), reranking_points(outcome), reranking_rows(outcome)) == ("", [], [])
    assert "eranker" not in write_model_card(tmp_path, outcome).read_text(encoding="utf-8")


def test_all_comparisons_are_rows(outcome: Outcome) -> None:
    rows = reranking_rows(with_reranker(outcome, "+-0+-"))
    assert [(row.system, row.base, row.comparison.verdict) for row in rows] == [
        ("tuned reranked", "untuned reranked", "NO EVIDENCE"),
        ("untuned reranked", "untuned", "WIN"),
        ("tuned reranked", "tuned", "REGRESSION"),
        ("untuned reranked", "tuned", "WIN"),
        ("tuned reranked", "untuned", "REGRESSION"),
    ]
    assert [(row.before, row.after) for row in rows[:2]] == [(0.62, 0.66), (0.5, 0.62)]
    assert len(reranking_rows(with_reranker(outcome, "+"))) == 1


def test_report_card_closing_lines_and_tracker_have_it(outcome: Outcome, tmp_path: Path) -> None:
    reranking = with_reranker(outcome, "+-+++")
    headline, points = reranking_headline(reranking), reranking_points(reranking)
    html, markdown = write_report(tmp_path, Report(outcome=reranking, scores={}))
    card = write_model_card(tmp_path, reranking).read_text(encoding="utf-8")
    with Console(width=300, record=True, file=(tmp_path / "out").open("w")) as console:
        print_outcome(reranking, folder=tmp_path, console=console)
    for text in (html.read_text(encoding="utf-8"), card, console.export_text()):
        assert headline in text
        assert all(point in text for point in points)
    assert all(point in markdown.read_text(encoding="utf-8") for point in points)
    assert "`cross-encoder/a_b`, over the first 100 passages" in card
    assert headline in description(reranking, tmp_path)
    assert further_metrics(reranking)["reranking/delta"] == 0.1


def test_it_is_read_back_and_may_be_missing(outcome: Outcome, tmp_path: Path) -> None:
    path = tmp_path / "outcome.json"
    reranking = with_reranker(outcome, "+-+++")
    reranking.write(path)
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["reranking"]["comparison"]["verdict"] == "WIN"
    assert Outcome.read(path).reranking == reranking.reranking
    del record["reranking"]
    path.write_text(json.dumps(record), encoding="utf-8")
    assert Outcome.read(path).reranking is None
