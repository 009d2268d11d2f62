from __future__ import annotations

import pytest

from embexp.reporting.tables import counted, duration, interval_text, signed


def test_numbers_are_written_for_people() -> None:
    assert signed(-0.0123) == "−0.012"
    assert interval_text((-0.0123, 0.034)) == "−0.012 … +0.034"
    assert counted(1, "question") == "1 question"
    assert counted(1200, "question") == "1,200 questions"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(8.24, "8.2 s"), (245.0, "4 min 05 s"), (7800.0, "2 h 10 min"), (59.99, "60.0 s")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
