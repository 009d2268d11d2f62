"""Rows of tables in texts, as readers write them: a line each, with bars between the cells."""

from __future__ import annotations

from embexp.data.fences import Fences

_MOST_ROWS = 0.8
"""The share of a paragraph's lines that are rows, from which it is a table."""


def is_row(line: str) -> bool:
    """Return whether a line is a row of a table: whether a bar stands between two of its cells."""
    return "|" in line.strip().strip("|")


def is_table(paragraph: str) -> bool:
    """Return whether a paragraph is a table of two rows or more."""
    lines = [line for line in paragraph.splitlines() if line.strip()]
    rows = sum(map(is_row, lines))
    return rows >= 2 and rows >= _MOST_ROWS * len(lines)


class RepeatedHead:
    """The first row of a table that is cut, which names the cells of the rows in later parts, too."""

    def __init__(self) -> None:
        self._head = ""
        self._fences = Fences()

    def read(self, text: str) -> None:
        """Take in a text, which is to be continued."""
        for line in text.splitlines():
            if self._fences.hold(line) or not is_row(line):
                self._head = ""
            elif not self._head:
                self._head = line.strip()

    def before(self, text: str) -> str:
        """Return what a part repeats that begins with ``text``: a line; empty outside of a table."""
        first = text.partition("\n")[0]
        return f"{self._head}\n" if self._head and is_row(first) else ""
