"""Sentences of a passage, found where they stand, so that one can be cut out as a query."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from embexp.synthesis.queries import clean

_FENCE = re.compile(r"\s*(```|~~~)")
_MARKER = re.compile(r"\s{0,3}(?:[-*+>•]|\d{1,3}[.)])\s+")
# Not prose: headings, tables, rules, doctests, directives, field lists, a line that is all code.
_NOT_PROSE = re.compile(
    r"(?: {4,}|\t|\s*(?:#|\||\+[-=]|>>>|\.\.\.|\.\. |:\w+|[-=~^_*]{3,}\s*$|`[^`]*`\s*$|<))"
)
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?![a-z])|(?<=[。！？])|\Z")
_LONE_MARKER = re.compile(r"^[ \t]*(?:[-*+>•]|\d{1,3}[.)])?[ \t]*$", re.MULTILINE)
_GAP = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence without markup, and where its raw form stands in the text: ``text[start:end]``."""

    text: str
    start: int
    end: int


def sentences(text: str) -> Iterator[Sentence]:
    """Yield the sentences of the prose in a text; code, tables and headings are passed over.

    Args:
        text: A chunk's body, in plain text, Markdown or reStructuredText.
    """
    for start, end in _blocks(text):
        at = start
        for match in _END.finditer(text, start, end):
            if match.start() > at:
                yield Sentence(clean(text[at : match.start()]), at, match.start())
            at = match.end()


def cut(text: str, sentence: Sentence) -> str:
    """Return the text without a sentence, and without the bare list sign that it may leave behind."""
    before, after = text[: sentence.start].rstrip(" "), text[sentence.end :].lstrip(" ")
    apart = "" if not before or before.endswith("\n") or after.startswith("\n") else " "
    return _GAP.sub("\n\n", _LONE_MARKER.sub("", before + apart + after)).strip()


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of paragraphs and list items; \\Z in ``_END`` ends the last sentence of each."""
    fenced, start, end, at = False, -1, -1, 0
    for line in text.splitlines(keepends=True):
        if _FENCE.match(line):
            fenced = not fenced
        marker = _MARKER.match(line)
        prose = not (fenced or not line.strip() or _FENCE.match(line) or _NOT_PROSE.match(line))
        if start >= 0 and (not prose or marker):
            yield start, end
            start = -1
        if prose:
            begin = at + (marker.end() if marker else len(line) - len(line.lstrip()))
            start, end = (begin if start < 0 else start), at + len(line.rstrip())
        at += len(line)
    if start >= 0:
        yield start, end
