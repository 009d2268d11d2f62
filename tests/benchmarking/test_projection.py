import numpy as np
import pytest

from embexp.benchmarking.embedding_map import project


def distances(points):
    return np.linalg.norm(points[:, None] - points[None], axis=2)


def test_two_dimensions_are_shown_as_they_are():
    flat = np.random.default_rng(0).normal(size=(20, 2)) @ np.random.default_rng(1).normal(size=(2, 8))
    before, after, shares = project(flat, flat)
    assert before == pytest.approx(after)
    assert distances(before) == pytest.approx(distances(flat))
    assert shares == pytest.approx((1.0, 1.0))


def test_a_turned_and_shifted_space_falls_on_the_first():
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(30, 6))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    before, after, _ = project(vectors, vectors @ turn + 3.0)
    assert after == pytest.approx(before)


def test_models_of_different_dimension_share_a_plane():
    vectors = np.random.default_rng(3).normal(size=(30, 4))
    before, after, _ = project(vectors, np.pad(vectors, ((0, 0), (2, 0))))
    assert before.shape == after.shape == (30, 2)
    assert after == pytest.approx(before)


def test_the_share_of_the_variance_is_that_of_two_components():
    # four axes with variances 4, 1, 1, 1: two of them show 5 of 7
    vectors = np.concatenate([np.diag([2.0, 1.0, 1.0, 1.0]), -np.diag([2.0, 1.0, 1.0, 1.0])])
    assert project(vectors, vectors)[2] == pytest.approx((5 / 7, 5 / 7))


def test_points_that_are_all_alike_have_no_variance():
    assert project(np.ones((5, 3)), np.ones((5, 3)))[2] == (0.0, 0.0)
