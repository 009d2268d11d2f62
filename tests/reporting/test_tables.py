from __future__ import annotations

from dataclasses import replace

import pytest

from embexp.reporting.outcome import Outcome
from embexp.reporting.tables import counted, duration, interval_text, shown_metrics, signed


def test_numbers_are_written_for_people() -> None:
    assert signed(-0.0123) == "−0.012"
    assert interval_text((-0.0123, 0.034)) == "−0.012 … +0.034"
    assert counted(1, "question") == "1 question"
    assert counted(1200, "question") == "1,200 questions"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(8.24, "8.2 s"), (245.0, "4 min 05 s"), (7800.0, "2 h 10 min"), (59.99, "60.0 s")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@pytest.mark.parametrize("tuned", [True, False])
def test_the_metric_that_was_asked_for_comes_first(served: Outcome, tuned: bool) -> None:
    outcome = asked_for(served, "recall@10", tuned=tuned)
    assert outcome.metric == "recall@10"
    assert shown_metrics(outcome) == ["recall@10", "ndcg@10"]


def test_without_any_comparison_no_metric_is_the_asked_one(outcome: Outcome) -> None:
    bare = outcome.model_copy(update={"comparison": None})
    assert bare.metric is None
    assert shown_metrics(bare) == ["recall@10", "ndcg@10"]


def asked_for(served: Outcome, metric: str, *, tuned: bool) -> Outcome:
    """Return a run that was asked for another metric, with or without a tuned model."""
    assert served.comparison
    assert served.retriever
    retriever = replace(served.retriever, comparison=replace(served.retriever.comparison, metric=metric))
    comparison = replace(served.comparison, metric=metric) if tuned else None
    scores = {name: {"ndcg@10": 0.5, metric: 0.4} for name in ("untuned", *(["tuned"] if tuned else []))}
    return served.model_copy(update={"comparison": comparison, "retriever": retriever, "scores": scores})
