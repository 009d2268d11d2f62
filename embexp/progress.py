"""Progress of long work: a bar with rate and remaining time in a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

log = logging.getLogger(__name__)
T = TypeVar("T")
_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_STEPS = 0.05
READING_DOCUMENTS = "Reading documents"
"""The text of the bar while documents are read and chunked."""


class Bar(Protocol):
    """Where long work reports its progress."""

    def advance(self, steps: int = 1) -> None:
        """Count ``steps`` more as done."""

    def skip(self, steps: int) -> None:
        """Take ``steps`` that need not be done off the total, so that the time left counts the others."""

    def expect(self, steps: int) -> None:
        """Set the total, where it becomes known only while the work is done."""

    def note(self, text: str) -> None:
        """Show a short text (a loss, a cost) beside the bar."""


class _TerminalBar:
    def __init__(self, progress: Progress, task: TaskID, total: int | None) -> None:
        self._progress = progress
        self._task = task
        self._total = total

    def advance(self, steps: int = 1) -> None:
        self._progress.advance(self._task, steps)

    def skip(self, steps: int) -> None:
        if self._total is not None:
            self.expect(self._total - steps)

    def expect(self, steps: int) -> None:
        self._total = steps
        self._progress.update(self._task, total=steps)

    def note(self, text: str) -> None:
        self._progress.update(self._task, note=text)


class _LogBar:
    def __init__(self, description: str, total: int | None) -> None:
        self._description = description
        self._total = total
        self._done = 0
        self._note = ""
        self._start = self._last = time.monotonic()

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            log.info("%s", self._line(now))

    def skip(self, steps: int) -> None:
        if self._total is not None:
            self._total -= steps

    def expect(self, steps: int) -> None:
        self._total = steps

    def note(self, text: str) -> None:
        self._note = text

    def _line(self, now: float) -> str:
        rate = self._done / max(now - self._start, 1e-9)
        parts = [f"{self._description}: {self._done:,}"]
        if self._total:
            parts.append(f"of {self._total:,}")
        if rate and self._total:
            parts[-1] += f", {max(self._total - self._done, 0) / rate:,.0f} s left"
        if rate:  # before the first step is done, nothing is known of the time that is left
            parts.append(f"({rate:,.1f}/s)")
        return " ".join([*parts, self._note]).rstrip()


@cache
def _console() -> Console:
    """Return the console that all bars share, so that a nested bar gets a line of its own."""
    from rich.console import Console

    return Console(stderr=True)


class TerminalHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes log lines to stderr; in a terminal they appear above the open bars, not through them."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if sys.stderr.isatty():
            _console().print(self.format(record), markup=False, highlight=False, soft_wrap=True)
        else:
            super().emit(record)


@contextmanager
def log_in_terminal() -> Iterator[None]:
    """Show embexp's log lines on stderr, for commands that Hydra does not configure.

    Where there is no terminal to draw bars in, these lines tell the progress of long work.
    """
    package, handler = logging.getLogger("embexp"), TerminalHandler()
    level = package.level
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)
        package.setLevel(level)


@contextmanager
def progress(description: str, *, total: int | None = None) -> Iterator[Bar]:
    """Open a bar for ``total`` steps; without a terminal, log a line every ten seconds instead.

    A single step has no bar: drawing one takes 3 ms, as long as encoding a question.

    Args:
        description: What is being done, as a short phrase ("Encoding passages"). Within a ``job`` of the same
            description its bar is yielded.
        total: The number of steps, or None if it is not known beforehand.
    """
    if description in _jobs:
        yield _jobs[description]
        return
    if total == 1 or not sys.stderr.isatty():
        yield _LogBar(description, total)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )

    class _Rated(Progress):
        def get_renderables(self):  # type: ignore[no-untyped-def]
            for task in self.tasks:
                task.fields["rate"] = f"{task.speed:,.1f}/s" if task.speed else ""
            yield from super().get_renderables()

    with _Rated(*columns, console=_console(), transient=True) as bars:
        yield _TerminalBar(bars, bars.add_task(description, total=total, note="", rate=""), total)


_jobs: dict[str, Bar] = {}
"""The bars of the jobs that are being done, by their descriptions."""


@contextmanager
def job(description: str, *, total: int | None) -> Iterator[Bar]:
    """Open one bar for work that is done in parts, so that the time left is that of the whole.

    Bars of the same description that the parts open count on this one.

    Args:
        description: What is being done, as for ``progress``.
        total: The number of steps of all parts together; None if a part tells it (``expect_in_job``).
    """
    with progress(description, total=total) as bar:
        if description in _jobs:
            yield bar
            return
        _jobs[description] = bar
        try:
            yield bar
        finally:
            del _jobs[description]


def skip_in_job(description: str, steps: int) -> None:
    """Take steps that need not be done off the total of the job of this description, if there is one."""
    if description in _jobs:
        _jobs[description].skip(steps)


def expect_in_job(description: str, steps: int) -> None:
    """Set the total of the job of this description, if there is one."""
    if description in _jobs:
        _jobs[description].expect(steps)


def track(items: Iterable[T], description: str, *, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` and show a bar that counts them."""
    with progress(description, total=total) as bar:
        done, last = 0, time.monotonic()
        for item in items:
            yield item
            done += 1
            if (now := time.monotonic()) - last >= _SECONDS_BETWEEN_STEPS:  # a million items are quick ones
                bar.advance(done)
                done, last = 0, now
        bar.advance(done)


@contextmanager
def without_bars() -> Iterator[None]:
    """Silence the progress bars that transformers draws while it loads and saves weights."""
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()
