import pytest

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.repeats import (
    Repeat,
    _mean_scores,
    _summarise_seeds,
)
from embexp.benchmarking.statistics.comparison import Comparison


def scores(values):
    return Scores(
        "tuned", {"m": sum(values) / len(values)}, {f"q{n}": {"m": v} for n, v in enumerate(values)}
    )


def test_the_mean_is_taken_question_by_question():
    mean = _mean_scores([scores([0.0, 1.0]), scores([0.5, 0.0])], metric="m")
    assert mean.per_query == {"q0": {"m": 0.25}, "q1": {"m": 0.5}}
    assert mean.mean == {"m": 0.375}  # the mean of 0.5 and 0.25


def test_seeds_are_summed_up_by_mean_and_standard_deviation():
    own = [Repeat(seed, 1.0, 10, None, score, None) for seed, score in ((0, 0.2), (1, 0.4), (2, 0.6))]
    systems = [scores([value] * 20) for value in (0.2, 0.4, 0.6)]
    found = _summarise_seeds(own, scores([0.1] * 20), systems, metric="m", clusters={}, seed=0)
    assert found.mean == pytest.approx(0.4)
    assert found.std == pytest.approx(0.2)  # √((0.04 + 0 + 0.04) / 2)
    assert isinstance(found.comparison, Comparison)
    assert found.comparison.delta == pytest.approx(0.3)
    assert found.comparison.verdict == "WIN"
