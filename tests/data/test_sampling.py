from __future__ import annotations

import pytest

from embexp.data.readers.problems import SHOWN_PER_REASON, Problems
from embexp.data.sampling import check_limit, sample
from embexp.errors import ConfigError, DataError

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
    with pytest.raises(ConfigError, match=rf"dataset.limit={value}: give a number of 1 or more"):
        check_limit("limit", value)


def test_problems_are_counted_by_reason_and_shown_a_few_times(caplog):
    problems = Problems()
    for number in range(SHOWN_PER_REASON + 3):
        problems.report("broken line", f"a.csv:{number}: bad.")
    problems.count("hidden")
    assert problems.summary() == "8 broken line, 1 hidden"
    assert len(caplog.records) == SHOWN_PER_REASON
    assert "are only counted" in caplog.records[-1].message


def test_on_error_fail_raises_the_first_problem_with_the_way_out():
    with pytest.raises(DataError, match=r"a.csv:1: bad. Or set dataset.on_error=skip"):
        Problems("fail").report("broken line", "a.csv:1: bad.")


def test_a_quiet_pass_logs_nothing(caplog):
    caplog.set_level("INFO")
    problems = Problems(quiet=True)
    problems.report("broken line", "a.csv:1: bad.")
    problems.close("done")
    assert not caplog.records
