import pytest

from embexp.benchmarking.benchmark import BenchmarkOptions, scoring_settings
from embexp.errors import ConfigError


@pytest.mark.parametrize(("seeds", "shares"), [(0, []), (101, []), (1, [0.0]), (1, [1.0]), (1, [0.5, 0.5])])
def test_senseless_repeats_are_refused(seeds, shares):
    with pytest.raises(ConfigError, match=r"benchmark\.(seeds|learning_curve)(=| is )"):
        BenchmarkOptions(seeds=seeds, learning_curve=shares)


def test_repeats_do_not_shape_a_score():
    assert scoring_settings({"limit": 3, "seeds": 3, "learning_curve": [0.5]}) == {"limit": 3}
