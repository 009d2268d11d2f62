from __future__ import annotations

import math
from dataclasses import replace

import pytest

from embexp.reporting import figures
from embexp.reporting.outcome import Outcome


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.43, 0.58, [0.4, 0.45, 0.5, 0.55, 0.6]),
        (0.0, 117.0, [0.0, 50.0, 100.0, 150.0]),
        (0.3, 0.3, None),
    ],
)
def test_ticks_are_round_and_enclose_the_range(low: float, high: float, expected: list[float] | None) -> None:
    ticks = figures._nice_ticks(low, high)
    assert ticks[0] <= low
    assert ticks[-1] >= high
    assert len(ticks) >= 2
    if expected:
        assert ticks == expected


@pytest.mark.parametrize(
    ("value", "ticks", "label"),
    [(0.5, [0.5, 0.55], "0.50"), (1000.0, [0.0, 1000.0], "1,000"), (-0.2, [-0.2, 0.0], "−0.2")],
)
def test_labels_have_the_digits_that_the_steps_need(value: float, ticks: list[float], label: str) -> None:
    assert figures._tick_label(value, ticks) == label


def test_systems_stand_on_a_common_axis() -> None:
    drawn = figures.dots({"a": 0.45, "b": 0.55}, {"a": (0.42, 0.48), "b": (0.5, 0.58)})
    # The axis runs from 0.40 to 0.60: 0.45 stands at a quarter.
    assert (drawn.ticks[0].label, drawn.ticks[-1].label) == ("0.40", "0.60")
    assert (drawn.rows[0].at, drawn.rows[0].left, drawn.rows[0].width) == (25.0, 10.0, 30.0)


def test_the_difference_always_shows_zero() -> None:
    drawn = figures.interval_axis(0.05, (0.02, 0.08))
    assert [tick.at for tick in drawn.ticks if tick.zero] == [50.0]
    assert drawn.rows[0].at > 50.0


def test_deltas_are_two_outlines_over_a_zero_line() -> None:
    drawn = figures.deltas([0.5, -0.5, 0.0])
    middle = figures.TOP + (figures.HEIGHT - figures.TOP - figures.BOTTOM) / 2
    assert drawn.zero == middle
    heights = [float(point.split(",")[1]) for point in drawn.wins.split()]
    assert min(heights) == figures.TOP
    assert max(heights) == middle
    assert [tick.label for tick in drawn.y_ticks] == ["−0.50", "−0.25", "0", "0.25", "0.50"]


def test_many_deltas_are_sampled() -> None:
    drawn = figures.deltas([math.sin(number) for number in range(5000)])
    assert len(drawn.wins.split()) == 2 * figures.MAX_STEPS + 2


def test_groups_count_and_average() -> None:
    better, same, worse = figures.groups([0.5, 0.1, 0.0, -0.2])
    assert (better.count, better.share, better.mean) == (2, 0.5, pytest.approx(0.3))
    assert (same.count, same.mean) == (1, 0.0)
    assert (worse.count, worse.mean) == (1, -0.2)


def test_a_curve_runs_from_left_to_right_and_marks_the_best() -> None:
    drawn = figures.curve([(0, 0.0), (5, 1.0), (10, float("nan")), (10, 0.5)], best_step=5)
    assert drawn is not None
    assert len(drawn.dots) == 3
    assert drawn.best == drawn.dots[1]
    assert drawn.dots[0] == (figures.LEFT, figures.HEIGHT - figures.BOTTOM)
    assert drawn.dots[1][1] == figures.TOP


def test_a_long_curve_has_no_dots_and_a_single_point_is_none() -> None:
    long = figures.curve([(step, 1 / (step + 1)) for step in range(100)])
    assert long is not None
    assert long.dots == ()
    assert long.best is None
    assert figures.curve([(1, 0.5)]) is None


def test_a_value_that_never_changes_lies_in_the_middle_of_readable_ticks() -> None:
    drawn = figures.curve([(0, 0.3), (1, 0.3)])
    assert drawn is not None
    middle = figures.TOP + (figures.HEIGHT - figures.TOP - figures.BOTTOM) / 2
    assert {y for _, y in drawn.dots} == {middle}
    assert [tick.label for tick in drawn.y_ticks] == ["0.25", "0.30", "0.35"]


def test_the_curves_of_both_models_share_their_axes_and_mark_the_chosen_weight(served: Outcome) -> None:
    drawn = figures.retriever_curves(served.retriever)
    assert list(drawn) == ["untuned", "tuned"]
    assert drawn["untuned"].y_ticks == drawn["tuned"].y_ticks
    assert [tick.label for tick in drawn["tuned"].x_ticks] == ["0.0", "0.2", "0.4", "0.6"]
    assert drawn["tuned"].best == drawn["tuned"].dots[4]
    assert drawn["untuned"].best is None
    # tuned scores higher at every weight, and y grows downwards
    pairs = zip(drawn["untuned"].dots, drawn["tuned"].dots, strict=True)
    assert all(tuned[1] < untuned[1] for untuned, tuned in pairs)


def test_without_dev_scores_there_is_no_curve(served: Outcome) -> None:
    assert served.retriever
    assert figures.retriever_curves(None) == {}
    assert figures.retriever_curves(replace(served.retriever, curve={})) == {}
