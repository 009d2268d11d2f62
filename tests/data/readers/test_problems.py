from __future__ import annotations

import pytest

from embexp.data.readers.problems import Problems
from embexp.errors import DataError


def test_problems_are_counted_by_reason_and_shown_a_few_times(caplog):
    problems = Problems()
    for number in range(8):
        problems.report("broken line", f"a.csv:{number}: bad.")
    problems.count("hidden")
    assert problems.summary() == "8 broken line, 1 hidden"
    assert len(caplog.records) == 5
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
