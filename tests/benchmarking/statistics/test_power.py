import itertools
import math

import pytest
from scipy.stats import t

from embexp.benchmarking.statistics.comparison import Comparison
from embexp.benchmarking.statistics.power import power, questions_needed


def comparison(half: float, *, clusters: int = 400, queries: int = 400) -> Comparison:
    return Comparison("ndcg@10", 0.0, (-half, half), 1.0, queries, clusters, "NO EVIDENCE")


def test_power_is_close_to_the_normal_one_with_many_documents() -> None:
    # Half an interval of 0.0196 is an error of 0.01; Φ(2.8 − 1.96) = 0.7995.
    assert power(comparison(0.0196), 0.028) == pytest.approx(0.7995, abs=0.004)
    assert power(comparison(0.0196), 1e-9) == pytest.approx(0.05, abs=1e-4)
    assert power(comparison(0.0001), 0.05) == 1.0


def test_power_is_what_simulation_finds_with_few_documents() -> None:
    import numpy as np

    draw = np.random.default_rng(0).normal(0.1, 0.2, (20_000, 12))
    error = draw.std(axis=1, ddof=1) / math.sqrt(12)
    bar = float(t.ppf(0.975, 11))
    found = float((np.abs(draw.mean(axis=1) / error) > bar).mean())
    half = 0.2 / math.sqrt(12) * bar
    assert power(comparison(half, clusters=12, queries=12), 0.1) == pytest.approx(found, abs=0.01)


@pytest.mark.parametrize("clusters", [10, 47, 787, 10_000])
def test_power_rises_to_one_with_the_difference(clusters: int) -> None:
    chances = [power(comparison(0.02, clusters=clusters), 0.001 * step) for step in range(1, 400)]
    assert all(0 <= before <= after + 1e-9 for before, after in itertools.pairwise(chances))
    assert chances[-1] == 1.0


def test_too_few_documents_see_nothing() -> None:
    assert power(comparison(0.01, clusters=9), 0.5) == 0.0


def test_four_times_the_questions_halve_the_error() -> None:
    now = comparison(0.0392, clusters=400, queries=800)
    # The error is 0.02 and should be 0.02 / 2.8: (2.8)² = 7.84 times as many, and some for Student's t.
    assert questions_needed(now, 0.02) == pytest.approx(800 * 7.84, rel=0.01)
    assert power(now, 0.02, clusters=questions_needed(now, 0.02) // 2) == pytest.approx(0.8, abs=0.001)
