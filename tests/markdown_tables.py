"""Markdown as a parser reads it: the tables of a text, and a complaint about what should have been one."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt


def tables(text: str) -> list[list[list[str]]]:
    """Return each table's rows of cells, the header first.

    Raises:
        AssertionError: A row is not part of a table, or has more or fewer cells than the header.
    """
    found: list[list[list[str]]] = []
    lines = text.splitlines()
    parent = ""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            assert token.map
            found[-1].append([])
            row = lines[token.map[0]]
            cells, columns = (_cells(each) for each in (row, lines[_header_line(lines, token.map[0])]))
            assert cells == columns, f"{cells} cells below {columns} columns: {row}"
        elif token.type.endswith("_open"):
            parent = token.type
        elif token.type == "inline" and parent in ("th_open", "td_open"):
            found[-1][-1].append(token.content)
        elif token.type == "inline":
            assert not token.content.startswith("|"), f"no part of a table: {token.content}"
    return found


def _header_line(lines: list[str], at: int) -> int:
    while at and lines[at - 1].startswith("|"):
        at -= 1
    return at


def _cells(row: str) -> int:
    return len(re.findall(r"(?<!\\)\|", row)) - 1
