"""Queries that stand in a text as such: questions, terms that it defines, comments in its code."""

from __future__ import annotations

import re
from collections.abc import Iterator

from embexp.data.fences import mark_code
from embexp.data.words import words
from embexp.synthesis.query_text import clean
from embexp.synthesis.salience import Sentence, sentences

_QUESTION_MARKS = ("?", "？", "؟", "՞", "፧")
_LEAST_ANSWER = 5
"""The fewest words that follow a question which the text answers, and the fewest of a definition."""
_MOST_TERM_WORDS = 6
_DEFINITION = re.compile(
    r"\s*(?:[-*+•]\s+)?(?P<term>[^\s:–—|#>][^:–—|\n]{0,80}?)(?::|\s+[–—]|\s+-)\s+(?P<text>\S.*)"
)
_COMMENT = re.compile(r"\s*(?:#+|//+|--|;+|%+)\s+(?P<text>\w.*)")


def asks(text: str) -> bool:
    """Return whether a title, heading or sentence is a question."""
    return text.rstrip("\"'”’)] ").endswith(_QUESTION_MARKS)


def questions(text: str) -> Iterator[Sentence]:
    """Yield the questions in the prose of a text that something follows: a FAQ answers below its question."""
    for sentence in sentences(text):
        if asks(sentence.text) and len(words(text[sentence.end :])) >= _LEAST_ANSWER:
            yield sentence


def definitions(text: str) -> Iterator[Sentence]:
    """Yield the terms of a glossary: lines such as "Term: what it means", without the colon.

    A label such as "Note" looks the same; it is no term because many documents have it, which the caller
    must find out.
    """
    for line, start, in_code in _lines(text):
        match = None if in_code else _DEFINITION.match(line)
        if match is None or len(words(match["text"])) < _LEAST_ANSWER:
            continue
        term = clean(match["term"])
        if 1 <= len(words(term)) <= _MOST_TERM_WORDS:
            yield Sentence(term, start + match.start("term"), start + match.start("text"))


def comments(text: str) -> Iterator[Sentence]:
    """Yield the comments in the code blocks of a text, a line each: they say what the code is for."""
    for line, start, in_code in _lines(text):
        match = _COMMENT.match(line) if in_code else None
        if match is not None:
            yield Sentence(clean(match["text"]), start, start + len(line.rstrip("\n")))


def _lines(text: str) -> Iterator[tuple[str, int, bool]]:
    """Yield each line, its position in the text, and whether it belongs to a code block."""
    at = 0
    for line, in_code in mark_code(text.splitlines(keepends=True)):
        yield line, at, in_code
        at += len(line)
