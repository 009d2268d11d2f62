"""Which trial comes next, and what becomes of the trials of sweepers that are gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler

from embexp.sweeper.space import Space
from embexp.sweeper.stores import FileStore
from embexp.sweeper.study import (
    ERROR,
    OWNER,
    VALUES,
    Failure,
    SharedStudy,
    open_study,
    sampler_factory,
    values_from,
)
from embexp.sweeper.syntax import parse_space
from tests.sweeper.parabola_sweeps import states

SPACE = parse_space({"x": "interval(0,10)"}, [], None)
CHOICES = parse_space({"x": "choice(1,2,3)", "y": "choice(5)"}, [], None)


class Killed(BaseException):
    """Ends a sweeper at a moment that a test chooses."""


@contextmanager
def ledger(
    folder: Path,
    *,
    total: int = 3,
    retries: int = 1,
    space: Space = SPACE,
    sampler: type[BaseSampler] = optuna.samplers.RandomSampler,
) -> Iterator[SharedStudy]:
    """A sweeper on the study in a folder, gone when the block ends."""
    store = FileStore(folder / "study.journal", journal=True)
    study = open_study(
        store,
        "study",
        space,
        directions=["minimize"],
        pruner=optuna.pruners.NopPruner(),
        settings={},
        first=None,
    )
    with store.liveness_lock() as owner:
        yield SharedStudy(
            study=study,
            store=store,
            space=space,
            total=total,
            retries=retries,
            owner=owner,
            sampler=lambda number: sampler(seed=number),
            crashes=folder / "crashes",
        )


def test_no_more_is_reserved_than_there_are_places(tmp_path: Path) -> None:
    with ledger(tmp_path) as one, ledger(tmp_path) as two:
        assert [trial.number for trial in one.ask(2)] == [0, 1]
        assert [trial.number for trial in two.ask(2)] == [2]
        assert one.ask(1) == []
        assert (one.unfinished(), two.unfinished()) == (3, 3)


def test_the_trial_of_a_sweeper_that_is_gone_is_repeated_with_its_values(tmp_path: Path) -> None:
    with ledger(tmp_path) as gone:
        [first] = gone.ask(1)
    with ledger(tmp_path) as here:
        [again] = here.ask(1)
        assert again.params == first.params
        assert here.study.trials[first.number].user_attrs[ERROR] == "its process ended"
        assert here.unfinished() == 3  # the repeat takes no place of its own


def test_kills_of_the_sweeper_use_up_no_attempt(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    drawn = []
    for _ in range(4):  # with retries=0 a single failure of the trial's own would end it
        with ledger(tmp_path, total=1, retries=0) as gone:
            [trial] = gone.ask(1)
            drawn.append(trial.params)
    with ledger(tmp_path, total=1, retries=0) as here:
        [again] = here.ask(1)
        here.tell(again.number, [1.0])
        assert [*drawn, again.params] == [again.params] * 5
        assert states(here.study) == {"FAIL": 4, "COMPLETE": 1}
        assert here.unfinished() == 0
    assert "The process has ended 3 times while trial 0 ran" in caplog.text


@pytest.mark.parametrize("drawn", [0, 1])
def test_a_kill_before_all_values_are_drawn_loses_none_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: int
) -> None:
    def draw_some(trial: optuna.Trial) -> None:
        if drawn:
            trial.suggest_categorical("x", [1, 2, 3])
        raise Killed

    options: dict[str, Any] = {"space": CHOICES, "sampler": optuna.samplers.BruteForceSampler}
    with ledger(tmp_path, **options) as gone:
        [first] = gone.ask(1)
        gone.tell(first.number, [1.0])
    with ledger(tmp_path, **options) as gone, monkeypatch.context() as patch:
        patch.setattr(Space, "draw", lambda self, trial: draw_some(trial))
        with pytest.raises(Killed):
            gone.ask(1)

    with ledger(tmp_path, **options) as here:
        while here.unfinished():
            for trial in here.ask(1):
                here.tell(trial.number, [1.0])

        assert {trial.params["x"] for trial in here.trials()} == {1, 2, 3}
        assert states(here.study) == {"COMPLETE": 3}


def test_a_kill_between_a_failure_and_its_repetition_loses_no_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with ledger(tmp_path, total=1) as gone, monkeypatch.context() as patch:
        [first] = gone.ask(1)
        patch.setattr(optuna.Study, "add_trial", killed)
        with pytest.raises(Killed):
            gone.tell(first.number, Failure(reason="no memory", retry=True))
    with ledger(tmp_path, total=1) as here:
        assert here.unfinished() == 1
        [again] = here.ask(1)
        assert (again.params, again.user_attrs["attempt"]) == (first.params, 2)
        here.tell(again.number, [1.0])
        assert (here.unfinished(), here.ask(1)) == (0, [])


def test_what_a_trial_does_to_its_own_process_counts_and_another_takes_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given_up = set()
    for number in range(2):  # the first attempt and, with retries=1, one more
        with ledger(tmp_path, total=1) as gone:
            [trial] = gone.ask(1)
            assert trial.number == number
            given_up.add(trial.params["x"])
            record = gone.crash_record()
        record.parent.mkdir(exist_ok=True)
        record.write_text("Fatal Python error: Segmentation fault\n\nCurrent thread …\n")
    with ledger(tmp_path, total=1) as here:
        [other] = here.ask(1)
        assert len(given_up) == 1
        assert other.params["x"] not in given_up
        assert here.study.trials[1].user_attrs[ERROR] == "its process crashed (Segmentation fault)"
        here.tell(other.number, [1.0])
        assert (here.ask(1), here.unfinished()) == ([], 0)
    assert "Trial 1 is given up: its process crashed (Segmentation fault) (attempt 2)." in caplog.text


def test_what_a_job_had_found_when_its_sweeper_died_is_kept(tmp_path: Path) -> None:
    with ledger(tmp_path) as gone:
        [trial] = gone.ask(1)
        trial.set_user_attr(VALUES, [4.0])  # as a trial of ours does before it returns
    with ledger(tmp_path) as here:
        assert [each.number for each in here.ask(1)] == [1]
        assert here.study.trials[0].value == 4.0


def test_a_trial_that_was_taken_over_is_told_once(tmp_path: Path) -> None:
    with ledger(tmp_path) as late:
        [trial] = late.ask(1)
        trial.set_user_attr(OWNER, "somebody-who-is-gone")  # as if late had been thought dead
        with ledger(tmp_path) as here:
            [again] = here.ask(1)
            here.tell(again.number, [1.0])
        late.tell(trial.number, [7.0])
        assert [each.state.name for each in late.study.trials] == ["FAIL", "COMPLETE"]
        assert late.study.best_value == 1.0


def test_a_mistake_is_not_repeated_and_an_interruption_costs_no_attempt(tmp_path: Path) -> None:
    with ledger(tmp_path, total=2, retries=0) as here:
        mistaken, interrupted = here.ask(2)
        here.tell(mistaken.number, Failure(reason="wrong", retry=False))
        here.tell(interrupted.number, Failure(reason="interrupted", retry=True, counts=False))
        again, other = here.ask(3)
        assert again.params == interrupted.params
        assert other.params != mistaken.params  # in the place of the one that is given up


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (0.5, [0.5]),
        (3, [3.0]),
        ([0.5], [0.5]),
        (None, "it returned no score"),
        (float("nan"), "no finite numbers"),
        ("high", "no finite numbers"),
        ([0.5, 1.0], "it returned 2 values where hydra.sweeper has 1 objectives"),
    ],
)
def test_what_a_task_returns_becomes_values_or_a_reason(returned, expected) -> None:
    found = values_from(returned, ["minimize"])
    assert expected in found.reason if isinstance(found, Failure) else found == expected


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("TPESampler", {}, [7, 8]),  # a generator of its own for each trial
        ("QMCSampler", {}, [7, 7]),  # one sequence
        ("TPESampler", {"seed": 3}, [3, 3]),  # named by the user
        ("PartialFixedSampler", {}, [None, None]),  # has none
    ],
)
def test_samplers_are_seeded_by_trial(
    name: str, settings: dict[str, int], expected: list[int | None]
) -> None:
    made = sampler_factory(dict, {"_target_": f"optuna.samplers.{name}", **settings}, seed=7)
    assert [made(number).get("seed") for number in (0, 1)] == expected
