from __future__ import annotations

import math

import pytest

from embexp.data.labels import label_scale
from embexp.data.records import Pair
from embexp.errors import ConfigError, DataError


def labelled(*labels: float | None) -> list[Pair]:
    return [
        Pair(id=f"p{at}", query="q", positive="p", document_id="d", label=label)
        for at, label in enumerate(labels)
    ]


@pytest.mark.parametrize(
    ("labels", "low", "high", "positive_from"),
    [
        ((), 0, 1, 1),  # no labels: every pair is a positive whatever the threshold
        ((1.0, 1.0), 0, 1, 1),  # grades of a qrels file
        ((0.0, 1.0), 0, 1, 1),
        ((1.0, 2.0), 0, 2, 1),  # grades above 1: 1 is relevant
        ((0.0, 3.0), 0, 3, 1),
        ((0.1, 0.9), 0, 1, 0.5),  # similarities
        ((0.0, 0.5, 1.0), 0, 1, 0.5),
        ((0.5, 4.75), 0, 4.75, 2.375),  # a scale of its own
        ((-1.0, 0.5, 1.0), -1, 1, 0),  # cosines: 0 is the middle
        ((-2.0, -1.0), -2, -1, 1),
        ((0.0,), 0, 1, 1),
        ((-3.0,), -3, 1, 1),
    ],
)
def test_the_scale_is_read_off_the_labels(labels, low, high, positive_from):
    scale = label_scale(labelled(None, *labels))
    assert (scale.low, scale.high, scale.positive_from) == (low, high, positive_from)


def test_scores_are_rescaled_and_kept_within_0_and_1():
    scale = label_scale(labelled(1.0, 4.5), label_range=[1, 5])
    # (3 - 1) / (5 - 1) = 0.5
    assert [scale.score(label) for label in (1.0, 3.0, 5.0, 0.0, 9.0, None)] == [0.0, 0.5, 1.0, 0.0, 1.0, 1.0]


def test_the_threshold_can_be_given():
    scale = label_scale(labelled(1.0, 5.0), positive_from=4)
    assert [scale.is_positive(label) for label in (3.0, 4.0, None)] == [False, True, True]


def test_how_labels_are_read_is_said(caplog):
    caplog.set_level("INFO")
    label_scale(labelled(1.0, 5.0))
    assert "Labels from 1 to 5: 1 and more is a positive (trainer.positive_from)" in caplog.text


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_label_that_is_no_number_is_named(bad):
    with pytest.raises(DataError, match=r"Pair p1 has the label (nan|inf)"):
        label_scale(labelled(1.0, bad))


@pytest.mark.parametrize("bad", [[1.0], [5.0, 1.0], [1.0, 2.0, 3.0]])
def test_an_impossible_range_is_named(bad):
    with pytest.raises(ConfigError, match=r"trainer.label_range="):
        label_scale(labelled(1.0), label_range=bad)
