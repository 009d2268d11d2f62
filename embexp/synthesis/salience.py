"""Salience: the sentences of a text, TF-IDF weights of words, and keywords."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from embexp.data.fences import mark_code
from embexp.data.words import CLOSERS, SPACED_ENDS, UNSPACED_ENDS, terms, unspaced
from embexp.synthesis.query_text import clean

_MARKER = re.compile(r"\s{0,3}(?:[-*+>•]|\d{1,3}[.)])\s+")


# Not prose: headings, tables, rules, doctests, directives, field lists, a line that is all code, signatures.
_NOT_PROSE = re.compile(
    r"(?: {4,}|\t|\s*(?:#|\||\+[-=]|>>>|\.\.\.|\.\. |:\w+|[-=~^_*]{3,}\s*$|`[^`]*`\s*$|<"
    r"|(?:async )?def \w+\(|class \w+(?:\(|:\s*$)|(?:async )?function \w*\(|func [\w (*)]*\w\("
    r"|(?:public|private|protected|static) [\w<>,\[\] ]+\())"
)
_END = re.compile(
    rf"(?<=[.!?{SPACED_ENDS}])[\"')\]*_]*\s+(?![a-z])"
    rf"|(?<=[{UNSPACED_ENDS}])(?![{UNSPACED_ENDS}{CLOSERS}])|(?<=[{UNSPACED_ENDS}][{CLOSERS}])|\Z"
)
_LONE_MARKER = re.compile(r"^[ \t]*(?:[-*+>•]|\d{1,3}[.)])?[ \t]*$", re.MULTILINE)
_GAP = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence without markup, and the position of its raw form in the text: ``text[start:end]``."""

    text: str
    start: int
    end: int


def sentences(text: str) -> Iterator[Sentence]:
    """Yield the sentences of the prose in a text; code, tables and headings are skipped.

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
    """Return the text without a sentence, and without a list marker that would be left alone."""
    before, after = text[: sentence.start].rstrip(" "), text[sentence.end :].lstrip(" ")
    gap = "" if not before or before.endswith("\n") or after.startswith("\n") else " "
    return _GAP.sub("\n\n", _LONE_MARKER.sub("", before + gap + after)).strip()


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of paragraphs and list items; ``\\Z`` in ``_END`` ends the last sentence of each."""
    start, end, at = -1, -1, 0
    for line, in_code in mark_code(text.splitlines(keepends=True)):
        marker = _MARKER.match(line)
        prose = not (in_code or not line.strip() or _NOT_PROSE.match(line))
        if start >= 0 and (not prose or marker):
            yield start, end
            start = -1
        if prose:
            begin = at + (marker.end() if marker else len(line) - len(line.lstrip()))
            start, end = (begin if start < 0 else start), at + len(line.rstrip())
        at += len(line)
    if start >= 0:
        yield start, end


_COMMON = 0.2
"""A word in more than this share of the chunks is no keyword of any of them."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Document frequencies: the number of passages, of ``chunks`` in all, that contain each word."""

    chunks: int
    frequency: Mapping[str, int]

    @classmethod
    def read(cls, passages: Iterable[str]) -> Terms:
        """Count words over a stream of passages; memory grows with the vocabulary alone."""
        frequency: Counter[str] = Counter()
        chunks = 0
        for passage in passages:
            frequency.update(set(terms(passage.casefold())))
            chunks += 1
        return cls(chunks, frequency)

    def weights(self, text: str) -> dict[str, float]:
        """Return each word's TF-IDF, (1 + ln tf) · (ln((1 + n) / (1 + df)) + 1), in order of appearance.

        Source: Manning, Raghavan & Schütze, Introduction to Information Retrieval (2008), section 6.4.
        """
        return {
            word: (1 + math.log(count))
            * (math.log((1 + self.chunks) / (1 + self.frequency.get(word, 0))) + 1)
            for word, count in Counter(terms(text.casefold())).items()
        }

    def keywords(self, text: str, count: int) -> list[str]:
        """Return the ``count`` words of a text with the highest weights, in the order of the text."""
        weights = self.weights(text)
        best = sorted(
            (word for word in weights if self._can_be_keyword(word)), key=lambda word: -weights[word]
        )
        chosen = set(best[:count])
        return [word for word in weights if word in chosen]

    def _can_be_keyword(self, word: str) -> bool:
        common = self.chunks >= 10 and self.frequency.get(word, 0) > _COMMON * self.chunks
        least = 2 if unspaced(word) else 3
        return not common and least <= len(word) <= 30 and sum(map(str.isalpha, word)) > len(word) / 2


def cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the cosine of two sparse vectors, 0 where one of them is empty."""
    dot = sum(weight * other[word] for word, weight in one.items() if word in other)
    norm = math.hypot(*one.values()) * math.hypot(*other.values())
    return dot / norm if norm else 0.0
