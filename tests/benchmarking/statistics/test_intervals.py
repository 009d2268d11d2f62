from __future__ import annotations

import math

import pytest

from embexp.benchmarking.statistics.intervals import clustered_interval


def test_each_query_its_own_cluster_gives_the_plain_standard_error() -> None:
    # Mean 0.5, deviations ±0.5: spread 4 × 0.25 = 1; error = sqrt(4/3 × 1) / 4 = 0.288675.
    low, high = clustered_interval({"a": 0.0, "b": 1.0, "c": 0.0, "d": 1.0}, {})
    assert 0.5 - low == pytest.approx(min(1.96 * math.sqrt(4 / 3) / 4, 0.5))
    assert high == 1.0


def test_queries_of_one_document_count_less() -> None:
    # Two clusters, sums of deviations −0.2 and +0.2: error = sqrt(2/1 × 0.08) / 4 = 0.1.
    values = {"a": 0.4, "b": 0.4, "c": 0.6, "d": 0.6}
    clusters = {"a": "x", "b": "x", "c": "y", "d": "y"}
    assert clustered_interval(values, clusters) == pytest.approx((0.5 - 0.196, 0.5 + 0.196))
    # Alone: four deviations of 0.1: error = sqrt(4/3 × 0.04) / 4 = 0.0577.
    assert clustered_interval(values, {}) == pytest.approx((0.5 - 0.11316, 0.5 + 0.11316), abs=1e-4)


@pytest.mark.parametrize("values", [{}, {"a": 0.3}])
def test_less_than_two_clusters_say_nothing(values: dict[str, float]) -> None:
    assert clustered_interval(values, {}) == (0.0, 1.0)


def test_the_interval_stays_within_zero_and_one() -> None:
    low, high = clustered_interval({"a": 0.0, "b": 1.0}, {})
    assert (low, high) == (0.0, 1.0)
