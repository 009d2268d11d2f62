import numpy as np
import pytest

from embexp.benchmarking.statistics import bootstrap as comparing
from embexp.benchmarking.statistics.bootstrap import half_means
from embexp.benchmarking.statistics.randomisation import randomisation_p


def test_every_division_of_three_clusters():
    lows, highs = half_means(np.array([1.0, 0.0, 3.0]), np.array([1.0, 2.0, 1.0]), resamples=400, seed=0)
    # {1}|{2,3}: 1/1 and 3/3; {2}|{1,3}: 0/2 and 4/2; {3}|{1,2}: 3/1 and 1/3; or one side is empty
    assert set(lows.round(6)) == {-np.inf, 0.0, round(1 / 3, 6), 1.0}
    assert set(highs.round(6)) == {1.0, 2.0, 3.0, np.inf}
    assert (np.diff(highs[np.isfinite(highs)]) >= 0).all()


def test_the_mean_lies_between_the_halves():
    rng = np.random.default_rng(1)
    sums, sizes = rng.normal(size=30), rng.integers(1, 50, 30).astype(float)
    lows, highs = half_means(sums, sizes, resamples=500, seed=0)
    assert lows[-1] <= sums.sum() / sizes.sum() <= highs[0]


def test_it_is_the_randomisation_test_turned_round():
    rng = np.random.default_rng(2)
    sums, sizes = rng.normal(0.3, 1, 40), rng.integers(1, 9, 40).astype(float)
    lows, _ = half_means(sums, sizes, resamples=4000, seed=0)
    # 0 lies outside a division's two means just where swapping the names of its half changes the sign
    assert (lows <= 0).mean() == pytest.approx(randomisation_p(sums, resamples=4000), abs=0.03)


def test_few_large_clusters_do_not_make_an_interval_endless(monkeypatch):
    rng = np.random.default_rng(3)
    sizes = np.concatenate([np.full(4, 80.0), np.ones(60)])
    sums = sizes * np.concatenate(
        [[0.4, -0.3, 0.5, 0.2], rng.choice([-0.5, 0.0, 0.5], 60, p=[0.1, 0.8, 0.1])]
    )

    def width():
        low, high = comparing._interval(sums, sizes, resamples=2000, seed=0)[0]
        return high - low

    bounded = width()
    endless = np.full(2000, -np.inf), np.full(2000, np.inf)
    monkeypatch.setattr(comparing, "half_means", lambda *_, **__: endless)
    assert width() > 1.3 * bounded
