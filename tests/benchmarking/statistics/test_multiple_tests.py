import numpy as np
import pytest

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.multiple_tests import contrasts, holm
from embexp.benchmarking.statistics.randomisation import randomisation_p


def test_all_swaps_are_counted_where_there_are_few():
    # Of the 2³ = 8 ways to sign 1, 2 and 3, only +6 and −6 are as far from 0 as 6.
    assert randomisation_p(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 8)
    # Of the 4 ways to sign 1 and 3, |4|, |2|, |2|, |4| against the observed 2: all.
    assert randomisation_p(np.array([-1.0, 3.0])) == 1.0


def test_documents_without_a_difference_change_nothing():
    sums = np.array([1.0, 2.0, 3.0])
    assert randomisation_p(np.concatenate([sums, np.zeros(500)])) == randomisation_p(sums)
    assert randomisation_p(np.zeros(5)) == 1.0


def test_a_clear_difference_is_never_met_by_chance():
    sums = np.random.default_rng(0).normal(0.5, 0.1, 100)
    assert randomisation_p(sums, resamples=999) == pytest.approx(2 / 1000)


def test_the_randomisation_test_keeps_its_level():
    wrong = sum(
        randomisation_p(np.random.default_rng([case, 1]).normal(0, 1, 30), resamples=199) < 0.05
        for case in range(600)
    )
    assert 0.025 <= wrong / 600 <= 0.075


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # 0.01 × 3; then max(0.03, 0.03 × 2); then max(0.06, 0.04 × 1)
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_multiplies_the_smallest_most(values, expected):
    assert holm(values) == pytest.approx(expected)


def scored(system, shift):
    draw = np.random.default_rng(3)
    values = {f"q{at}": {"ndcg@10": float(value)} for at, value in enumerate(draw.uniform(0.2, 0.5, 80))}
    moved = {
        query: {"ndcg@10": found["ndcg@10"] + shift + float(draw.normal(0, 0.05))}
        for query, found in values.items()
    }
    return Scores(system, {"ndcg@10": 0.0}, moved if shift is not None else values)


def test_every_pair_is_compared_and_corrected():
    scores = {"a": scored("a", 0.0), "b": scored("b", 0.1), "c": scored("c", 0.0)}
    found = contrasts(scores, [("a", "b"), ("a", "c")], metric="ndcg@10", clusters={}, resamples=999)
    assert [(each.base, each.system) for each in found] == [("a", "b"), ("a", "c")]
    first = found[0]
    assert first.comparison.verdict == "WIN"
    # Twice the greater p, 2 of 1,000 swaps: the smallest of two is multiplied by 2.
    assert first.holm_p == pytest.approx(2 * 2 / 1000)
    assert found[1].holm_p == 1.0 or found[1].holm_p > 0.05
