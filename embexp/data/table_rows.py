"""Rows of tables in texts, as readers write them: a line each, with bars between the cells."""

from __future__ import annotations

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
