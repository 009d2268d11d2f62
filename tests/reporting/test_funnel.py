from __future__ import annotations

import pytest

from embexp.reporting.report import Step, funnel


def test_reasons_are_shown_by_how_many_they_took() -> None:
    report = {
        "accepted": 60,
        "rejected": {"copied": 10, "round trip": 30},
        "examples_dropped": {"round trip": ["what is it? (rank 40)"]},
    }
    assert funnel(report) == [
        Step("accepted", 60, 0.6),
        Step("round trip", 30, 0.3, ["what is it? (rank 40)"]),
        Step("copied", 10, 0.1),
    ]


@pytest.mark.parametrize(("report", "steps"), [({}, []), ({"accepted": 0}, [Step("accepted", 0, 0.0)])])
def test_without_an_account_there_is_no_funnel(report: dict[str, object], steps: list[Step]) -> None:
    assert funnel(report) == steps
