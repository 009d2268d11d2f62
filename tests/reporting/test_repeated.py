from __future__ import annotations

from dataclasses import replace

import pytest

from embexp.reporting.outcome import Outcome
from embexp.reporting.verdict import curve_line, more_pairs, seeds_advice, seeds_line


def test_a_run_without_repeats_says_nothing_of_them(outcome: Outcome) -> None:
    assert (seeds_line(outcome), curve_line(outcome), seeds_advice(outcome)) == ("", "", [])


def test_seeds_are_told_with_their_spread_and_their_verdicts(repeated: Outcome) -> None:
    assert seeds_line(repeated) == (
        "Seeds: ndcg@10 0.725 on average over 2 training seeds (0.700 … 0.750, standard deviation 0.035). "
        "Against the untuned model that is +0.225 (95% interval +0.020 … +0.430); seed by seed: "
        "1 WIN, 1 NO EVIDENCE."
    )
    assert "The verdict hangs on the training seed" in seeds_advice(repeated)[0]


def test_seeds_that_agree_need_no_warning(repeated: Outcome) -> None:
    assert repeated.seeds
    agreed = replace(repeated.seeds, runs=repeated.seeds.runs[:1] * 2)
    assert seeds_advice(replace(repeated, seeds=agreed)) == []


@pytest.mark.parametrize(
    ("verdict", "interval", "sentence"),
    [
        ("WIN", (0.01, 0.05), "More pairs are likely to help"),
        ("REGRESSION", (-0.05, -0.01), "More pairs of this kind would not help"),
        ("NO EVIDENCE", (-0.01, 0.015), "More pairs of this kind would hardly help"),
        ("NO EVIDENCE", (-0.01, 0.05), "4 test questions cannot tell whether more pairs would help"),
    ],
)
def test_the_last_step_says_whether_more_pairs_would_help(
    repeated: Outcome, verdict: str, interval: tuple[float, float], sentence: str
) -> None:
    assert repeated.learning_curve
    last = replace(repeated.learning_curve.last, verdict=verdict, interval=interval)
    told = more_pairs(replace(repeated.learning_curve, last=last))
    assert told.startswith(sentence)
    assert "from 50% of the pairs to all, +0.100" in told
