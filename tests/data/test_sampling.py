from __future__ import annotations

import pytest

from embexp.data.datasets import PairsFile
from embexp.data.sampling import sample
from embexp.errors import ConfigError

NAMES = [f"document {number}" for number in range(100)]


def test_no_limit_keeps_everything_in_order():
    assert list(sample(NAMES, None, key=str)) == NAMES


def test_a_sample_keeps_the_order_is_spread_out_and_is_the_same_each_time():
    chosen = list(sample(NAMES, 10, key=str))
    assert len(chosen) == 10
    assert chosen == sorted(chosen, key=NAMES.index)
    assert chosen != NAMES[:10]
    assert chosen == list(sample(NAMES, 10, key=str))


def test_a_larger_sample_contains_the_smaller_one():
    assert set(sample(NAMES, 10, key=str)) < set(sample(NAMES, 20, key=str))


def test_what_must_be_kept_counts_towards_the_limit():
    keep = {"document 3", "document 97"}
    chosen = list(sample(NAMES, 5, key=str, keep=keep))
    assert keep < set(chosen)
    assert len(chosen) == 5


def test_what_must_be_kept_is_kept_beyond_the_limit():
    assert list(sample(NAMES, 1, key=str, keep={"document 3", "document 97"})) == [
        "document 3",
        "document 97",
    ]


@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_below_one_is_refused(value):
    with pytest.raises(
        ConfigError, match=rf"dataset.limit is {value}: give a whole number from 1 to .*, or null"
    ):
        PairsFile(path="pairs.jsonl", limit=value)
