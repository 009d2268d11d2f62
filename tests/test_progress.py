from __future__ import annotations

import io
import logging
from types import SimpleNamespace

import pytest
from rich.console import Console

from embexp import progress as module
from embexp.progress import (
    TerminalHandler,
    expect_in_job,
    job,
    log_in_terminal,
    progress,
    skip_in_job,
    track,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=stream))
    console = Console(file=stream, force_terminal=True, width=100)
    monkeypatch.setattr(module, "_console", lambda: console)
    return stream


def test_without_a_terminal_long_work_logs_rate_and_remaining_time(monkeypatch, caplog) -> None:
    clock = iter([0.0, 4.0, 20.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO), progress("Encoding", total=300) as bar:
        bar.note("loss 0.5")
        bar.advance(40)
        bar.advance(60)
    assert caplog.messages == ["Encoding: 100 of 300, 40 s left (5.0/s) loss 0.5"]  # 100 in 20 s; 200 to go


def test_before_the_first_step_no_remaining_time_is_claimed(monkeypatch, caplog) -> None:
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO), progress("Training", total=300) as bar:
        bar.advance(0)
    assert caplog.messages == ["Training: 0 of 300"]


def test_in_a_terminal_a_bar_counts(terminal: Terminal) -> None:
    assert list(track(range(3), "Reading", total=3)) == [0, 1, 2]
    assert "Reading" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_a_single_step_has_no_bar(terminal: Terminal) -> None:
    with progress("Encoding queries", total=1) as bar:
        bar.advance()
    assert terminal.getvalue() == ""


def test_a_log_line_stands_above_an_open_bar(terminal: Terminal) -> None:
    record = logging.LogRecord("embexp", logging.INFO, "", 0, "12 [red]vectors[/red]", None, None)
    with progress("Encoding", total=3) as bar:
        TerminalHandler().emit(record)
        bar.advance()
    assert "12 [red]vectors[/red]\n" in terminal.getvalue()


def test_a_log_line_without_a_terminal_goes_to_stderr_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    TerminalHandler().emit(logging.LogRecord("embexp", logging.INFO, "", 0, "12 vectors", None, None))
    assert capsys.readouterr().err == "12 vectors\n"


def test_a_command_that_hydra_does_not_configure_shows_its_log_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = logging.getLogger("embexp")
    before = package.level
    with log_in_terminal():
        logging.getLogger("embexp.exporting").info("Measuring the speed of both.")
    assert capsys.readouterr().err == "Measuring the speed of both.\n"
    assert package.level == before
    logging.getLogger("embexp.exporting").info("not shown")
    assert capsys.readouterr().err == ""


def test_parts_of_a_job_count_on_one_bar_with_the_time_left_of_the_whole(monkeypatch, caplog) -> None:
    clock = iter([0.0, 20.0, 60.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO), job("Encoding", total=300):
        with progress("Encoding", total=100) as part:
            part.advance(40)
        skip_in_job("Encoding", 100)  # they are known already
        with job("Encoding", total=100), progress("Encoding", total=100) as part:
            part.advance(60)
    assert caplog.messages == [
        "Encoding: 40 of 300, 130 s left (2.0/s)",
        "Encoding: 100 of 200, 60 s left (1.7/s)",
    ]


def test_another_bar_within_a_job_is_its_own_and_so_is_one_after_it(monkeypatch, caplog) -> None:
    clock = iter([0.0, 0.0, 10.0, 50.0, 70.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO), job("Encoding", total=300), progress("Writing", total=20) as bar:
        bar.advance(5)
    skip_in_job("Encoding", 5)  # no job is open: nothing to do
    with caplog.at_level(logging.INFO), progress("Encoding", total=4) as bar:
        bar.advance(2)
    assert caplog.messages == ["Writing: 5 of 20, 30 s left (0.5/s)", "Encoding: 2 of 4, 20 s left (0.1/s)"]


def test_in_a_terminal_skipped_steps_leave_the_total(terminal: Terminal) -> None:
    with job("Encoding", total=10) as bar:
        bar.skip(7)
        bar.advance(3)
    assert "3/3" in terminal.getvalue()


def test_a_total_that_becomes_known_later_gives_the_time_left(monkeypatch, caplog) -> None:
    clock = iter([0.0, 20.0, 40.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    expect_in_job("Reading", 4)  # no such job: nothing to do
    with caplog.at_level(logging.INFO), job("Reading", total=None) as bar:
        bar.advance(10)
        expect_in_job("Reading", 100)
        bar.advance(10)
    assert caplog.messages == ["Reading: 10 (0.5/s)", "Reading: 20 of 100, 160 s left (0.5/s)"]


def test_quick_items_move_the_bar_together(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[int] = []
    monkeypatch.setattr(module._LogBar, "advance", lambda _, steps=1: moved.append(steps))
    assert list(track(range(1000), "Reading")) == list(range(1000))
    assert sum(moved) == 1000
    assert len(moved) < 500
