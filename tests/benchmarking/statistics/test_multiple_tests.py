import numpy as np
import pytest

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.comparison import Comparison
from embexp.benchmarking.statistics.multiple_tests import Contrast, _holm, contrasts


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
    assert _holm(values) == pytest.approx(expected)


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


@pytest.mark.parametrize(
    ("verdict", "delta", "holm_p", "result"),
    [
        ("WIN", 0.1, 0.01, "higher"),
        ("WIN", 0.1, 0.05, "no evidence"),
        ("REGRESSION", -0.1, 0.01, "lower"),
        ("REGRESSION", -0.1, 0.2, "no evidence"),
        ("NO EVIDENCE", 0.1, 0.01, "no evidence"),
        ("EQUIVALENT", 0.001, 0.01, "no evidence"),  # a verdict that says neither
    ],
)
def test_a_difference_needs_a_verdict_and_a_corrected_p(verdict, delta, holm_p, result):
    comparison = Comparison("ndcg@10", delta, (delta - 0.01, delta + 0.01), 0.01, 80, 80, verdict)
    assert Contrast("a", "b", comparison, holm_p).result == result
