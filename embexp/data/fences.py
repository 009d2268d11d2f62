"""Fenced code blocks, by CommonMark's rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_OPENING = re.compile(r" {0,3}(?:(`{3,})[^`]*|(~{3,}).*)")
_CLOSING = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*")
_BACKTICKS = re.compile(r"`{3,}")


class Fences:
    """Tells of each line of a text, one after the other, whether it belongs to a fenced block."""

    def __init__(self) -> None:
        self._open = ""
        self.last = ""
        """The line that opened the last block; empty before the first."""

    @property
    def opened(self) -> str:
        """The line that opened the block which the next line belongs to; empty outside of a block."""
        return self.last if self._open else ""

    @property
    def closing(self) -> str:
        """The line that closes that block; empty outside of a block."""
        return self._open

    def hold(self, line: str) -> bool:
        """Return whether the next line belongs to a fenced block, the fences included."""
        bare = line.rstrip("\r\n")
        if self._open:
            if self.closed_by(bare):
                self._open = ""
            return True
        if opening := _OPENING.fullmatch(bare):
            self._open, self.last = opening.group(1) or opening.group(2), bare.strip()
        return bool(self._open)

    def closed_by(self, line: str) -> bool:
        """Return whether a line closes the block in which the next line is."""
        closing = _CLOSING.fullmatch(line.rstrip("\r\n"))
        return bool(self._open and closing and closing.group(1).startswith(self._open))


def mark_code(lines: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yield each line with whether it belongs to a fenced block, the fences included.

    A fence is closed by one of the same sign that is at least as long; one that is never closed ends with the
    text. Three backticks that are followed by another one on their line are inline code.

    Args:
        lines: The lines of a text, with or without their ends.
    """
    fences = Fences()
    for line in lines:
        yield line, fences.hold(line)


def opens_fence(line: str) -> bool:
    """Return whether a line opens a fenced block, if it is not in one."""
    return bool(_OPENING.fullmatch(line))


def fenced(code: str) -> str:
    """Return code in a fence that is longer than any within it."""
    longest = max((len(run) for run in _BACKTICKS.findall(code)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{code}\n{fence}"
