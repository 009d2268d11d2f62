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


class Bar(Protocol):
    """Where long work reports its progress."""

    def advance(self, steps: int = 1) -> None:
        """Count ``steps`` more as done."""

    def note(self, text: str) -> None:
        """Show a short text (a loss, a cost) beside the bar."""


class _TerminalBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, steps: int = 1) -> None:
        self._progress.advance(self._task, steps)

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
def progress(description: str, *, total: int | None = None) -> Iterator[Bar]:
    """Open a bar for ``total`` steps; without a terminal, log a line every ten seconds instead.

    Args:
        description: What is being done, as a short phrase ("Encoding passages").
        total: The number of steps, or None if it is not known beforehand.
    """
    if not sys.stderr.isatty():
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
        yield _TerminalBar(bars, bars.add_task(description, total=total, note="", rate=""))


def track(items: Iterable[T], description: str, *, total: int | None = None) -> Iterator[T]:
    """Yield ``items`` and show a bar that counts them."""
    with progress(description, total=total) as bar:
        for item in items:
            yield item
            bar.advance()


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
