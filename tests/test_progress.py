from __future__ import annotations

import io
import logging
from types import SimpleNamespace

import pytest
from rich.console import Console

from embexp import progress as module
from embexp.progress import TerminalHandler, progress, track


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


def test_a_log_line_stands_above_an_open_bar(terminal: Terminal) -> None:
    record = logging.LogRecord("embexp", logging.INFO, "", 0, "12 [red]vectors[/red]", None, None)
    with progress("Encoding", total=3) as bar:
        TerminalHandler().emit(record)
        bar.advance()
    assert "12 [red]vectors[/red]\n" in terminal.getvalue()


def test_a_log_line_without_a_terminal_goes_to_stderr_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    TerminalHandler().emit(logging.LogRecord("embexp", logging.INFO, "", 0, "12 vectors", None, None))
    assert capsys.readouterr().err == "12 vectors\n"
