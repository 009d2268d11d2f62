import math

import numpy as np
import pytest

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics import comparison as module
from embexp.benchmarking.statistics.comparison import (
    _half_means,
    _randomisation_p,
    clustered_interval,
    compare,
)
from embexp.errors import ConfigError, DataError


def scores(system, values):
    per_query = {f"q{at:05}": {"ndcg@10": float(value)} for at, value in enumerate(values)}
    return Scores(system, {"ndcg@10": float(np.mean(values)) if len(values) else 0.0}, per_query)


def compared(differences, *, per_cluster=1, **options):
    differences = np.asarray(differences, dtype=float)
    clusters = {f"q{at:05}": f"d{at // per_cluster}" for at in range(len(differences))}
    base = scores("untuned", np.zeros(len(differences)))
    return compare(base, scores("tuned", differences), clusters=clusters, **{"resamples": 999, **options})


def test_a_clear_gain_is_a_win():
    result = compared(np.random.default_rng(0).normal(0.1, 0.1, 200))
    assert result.verdict == "WIN"
    assert result.interval[0] < result.delta < result.interval[1]
    # 0.1 ± 1.96 * 0.1 / √200 is about 0.1 ± 0.014
    assert result.interval[1] - result.interval[0] == pytest.approx(0.028, abs=0.004)
    assert result.p == 1 / 1000
    assert (result.metric, result.queries, result.clusters) == ("ndcg@10", 200, 200)


def test_a_clear_loss_is_a_regression():
    assert compared(np.random.default_rng(0).normal(-0.1, 0.1, 200)).verdict == "REGRESSION"


def test_no_difference_is_no_evidence():
    result = compared(np.random.default_rng(1).normal(0, 0.2, 200))
    assert result.verdict == "NO EVIDENCE"
    assert result.interval[0] < 0 < result.interval[1]
    assert result.p > 0.05


def test_questions_about_one_document_do_not_count_as_independent():
    rng = np.random.default_rng(2)
    together = np.repeat(rng.normal(0.05, 0.2, 20), 20)
    alone = compared(together)
    clustered = compared(together, per_cluster=20)
    assert clustered.clusters == 20
    width = [result.interval[1] - result.interval[0] for result in (alone, clustered)]
    # 20 equal questions a document: the honest interval is √20 = 4.5 times as wide, and more with so few
    assert width[1] > 4 * width[0]


@pytest.mark.parametrize(("clusters", "verdict"), [(9, "NO EVIDENCE"), (10, "WIN")])
def test_few_documents_give_no_verdict(clusters, verdict):
    differences = np.random.default_rng(3).normal(0.5, 0.01, clusters)
    assert compared(differences).verdict == verdict


@pytest.mark.parametrize(
    ("value", "verdict", "p"),
    [(0.0, "NO EVIDENCE", 1.0), (0.1, "WIN", 1 / 1000), (-0.1, "REGRESSION", 1 / 1000)],
)
def test_the_same_difference_everywhere(value, verdict, p):
    result = compared(np.full(20, value))
    assert (result.verdict, result.p) == (verdict, pytest.approx(p))
    assert result.interval == (pytest.approx(value), pytest.approx(value))


def test_a_single_document_gives_the_widest_interval():
    result = compared([0.3, 0.4], per_cluster=2)
    assert (result.interval, result.p, result.verdict) == ((-1.0, 1.0), 1.0, "NO EVIDENCE")


def test_a_lone_change_is_no_evidence_and_the_interval_stays_finite():
    result = compared([0.9] + [0.0] * 99)
    assert result.verdict == "NO EVIDENCE"
    assert -1.0 <= result.interval[0] < 0 < result.interval[1] <= 1.0


def test_same_seed_same_result_in_blocks_of_any_size(monkeypatch):
    differences = np.random.default_rng(4).normal(0.01, 0.1, 60)
    whole = compared(differences)
    assert whole == compared(differences)
    assert whole.interval != compared(differences, seed=1).interval
    monkeypatch.setattr(module, "CELLS_PER_BLOCK", 60 * 100)
    assert compared(differences).interval == pytest.approx(whole.interval)


def test_interval_and_p_agree():
    for seed in range(60):
        result = compared(np.random.default_rng(seed).normal(0.04, 0.2, 80), resamples=399)
        assert (result.p < 0.05) == (result.verdict != "NO EVIDENCE")


@pytest.mark.parametrize("sizes", ["equal", "unequal"])
def test_the_level_is_kept_on_clustered_data(sizes):
    wrong, missed, cases = 0, 0, 1000
    for case in range(cases):
        rng = np.random.default_rng([case, 5])
        count = np.full(60, 4.0) if sizes == "equal" else np.clip(rng.geometric(0.2, 60), 1, 40).astype(float)
        sums = count * rng.normal(0, 0.15, 60) + rng.normal(0, 0.2, 60) * np.sqrt(count)
        low, high = module._interval(sums, count, resamples=399, seed=case)[0]
        wrong += low > 0 or high < 0
        low, high = module._interval(sums + 0.05 * count, count, resamples=399, seed=case)[0]
        missed += not low <= 0.05 <= high
    assert 0.035 <= wrong / cases <= 0.065
    assert 0.035 <= missed / cases <= 0.065


@pytest.mark.parametrize(
    ("base", "tuned", "options", "error", "message"),
    [
        ([], [], {}, DataError, "asked no question"),
        ([0.1], [0.1, 0.2], {}, DataError, "not asked the same questions .1 differ, such as 'q00001'"),
        ([0.1], [0.1], {"metric": "map@5"}, ConfigError, "has no map@5: choose from ndcg@10"),
        ([0.1], [0.1], {"resamples": 10}, ConfigError, "resamples=10"),
    ],
)
def test_refuses_what_cannot_be_compared(base, tuned, options, error, message):
    with pytest.raises(error, match=message):
        compare(scores("untuned", base), scores("tuned", tuned), clusters={}, **options)


def test_every_division_of_three_clusters():
    lows, highs = _half_means(np.array([1.0, 0.0, 3.0]), np.array([1.0, 2.0, 1.0]), resamples=400, seed=0)
    # {1}|{2,3}: 1/1 and 3/3; {2}|{1,3}: 0/2 and 4/2; {3}|{1,2}: 3/1 and 1/3; or one side is empty
    assert set(lows.round(6)) == {-np.inf, 0.0, round(1 / 3, 6), 1.0}
    assert set(highs.round(6)) == {1.0, 2.0, 3.0, np.inf}
    assert (np.diff(highs[np.isfinite(highs)]) >= 0).all()


def test_the_mean_lies_between_the_halves():
    rng = np.random.default_rng(1)
    sums, sizes = rng.normal(size=30), rng.integers(1, 50, 30).astype(float)
    lows, highs = _half_means(sums, sizes, resamples=500, seed=0)
    assert lows[-1] <= sums.sum() / sizes.sum() <= highs[0]


def test_it_is_the_randomisation_test_turned_round():
    rng = np.random.default_rng(2)
    sums, sizes = rng.normal(0.3, 1, 40), rng.integers(1, 9, 40).astype(float)
    lows, _ = _half_means(sums, sizes, resamples=4000, seed=0)
    # 0 lies outside a division's two means just where swapping the names of its half changes the sign
    assert (lows <= 0).mean() == pytest.approx(_randomisation_p(sums, resamples=4000), abs=0.03)


def test_few_large_clusters_do_not_make_an_interval_endless(monkeypatch):
    rng = np.random.default_rng(3)
    sizes = np.concatenate([np.full(4, 80.0), np.ones(60)])
    sums = sizes * np.concatenate(
        [[0.4, -0.3, 0.5, 0.2], rng.choice([-0.5, 0.0, 0.5], 60, p=[0.1, 0.8, 0.1])]
    )

    def width():
        low, high = module._interval(sums, sizes, resamples=2000, seed=0)[0]
        return high - low

    bounded = width()
    endless = np.full(2000, -np.inf), np.full(2000, np.inf)
    monkeypatch.setattr(module, "_half_means", lambda *_, **__: endless)
    assert width() > 1.3 * bounded


def test_all_swaps_are_counted_where_there_are_few():
    # Of the 2³ = 8 ways to sign 1, 2 and 3, only +6 and −6 are as far from 0 as 6.
    assert _randomisation_p(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 8)
    # Of the 4 ways to sign 1 and 3, |4|, |2|, |2|, |4| against the observed 2: all.
    assert _randomisation_p(np.array([-1.0, 3.0])) == 1.0


def test_documents_without_a_difference_change_nothing():
    sums = np.array([1.0, 2.0, 3.0])
    assert _randomisation_p(np.concatenate([sums, np.zeros(500)])) == _randomisation_p(sums)
    assert _randomisation_p(np.zeros(5)) == 1.0


def test_a_clear_difference_is_never_met_by_chance():
    sums = np.random.default_rng(0).normal(0.5, 0.1, 100)
    assert _randomisation_p(sums, resamples=999) == pytest.approx(2 / 1000)


def test_the_randomisation_test_keeps_its_level():
    wrong = sum(
        _randomisation_p(np.random.default_rng([case, 1]).normal(0, 1, 30), resamples=199) < 0.05
        for case in range(600)
    )
    assert 0.025 <= wrong / 600 <= 0.075


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
