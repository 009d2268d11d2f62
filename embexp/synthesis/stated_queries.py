"""Queries that stand in texts: questions, defined terms, captions, comments in code, words of links."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from embexp.data.fences import mark_code
from embexp.data.records import Chunk
from embexp.data.words import words
from embexp.synthesis.query_text import clean, key
from embexp.synthesis.salience import Sentence, sentences

_QUESTION_MARKS = ("?", "？", "؟", "՞", "፧")
_LEAST_ANSWER = 5
"""The fewest words that follow a question which the text answers, and the fewest of a definition."""
_MOST_TERM_WORDS = 6
_DEFINITION = re.compile(
    r"\s*(?:[-*+•]\s+)?(?P<term>[^\s:–—|#>][^:–—|\n]{0,80}?)(?::|\s+[–—]|\s+-)\s+(?P<text>\S.*)"
)
_LINK = re.compile(r"(?<![!\\])\[(?P<words>[^\[\]]+)\]\((?P<address>[^()\s]+)(?:\s[^()]*)?\)")
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


def captions(text: str) -> Iterator[Sentence]:
    """Yield the captions of tables: the line of prose above rows of cells."""
    lines = [each for each in _lines(text) if each[0].strip()]
    for above, first, second in zip(lines, lines[1:], lines[2:], strict=False):
        line, start, in_code = above
        if in_code or _is_row(line) or not (_is_row(first[0]) and _is_row(second[0])):
            continue
        if not line.lstrip().startswith("#"):
            yield Sentence(clean(line), start, start + len(line.rstrip("\n")))


def _is_row(line: str) -> bool:
    return "|" in line.strip().strip("|")


@dataclass(frozen=True, slots=True)
class Link:
    """The words of a link, and the heading that it leads to, as ``slug`` writes it; empty for none."""

    words: str
    fragment: str


def links_to(chunks: Iterable[Chunk]) -> Mapping[str, Sequence[Link]]:
    """Return, for each document, the Markdown links of other documents that lead to it.

    Words that lead to several places ("here", "read more") describe none of them and are left out.
    """
    chunks = list(chunks)
    known = {chunk.document_id for chunk in chunks}
    found: dict[str, dict[tuple[str, str], Link]] = defaultdict(dict)
    for chunk in chunks:
        for link_words, address in _links(chunk.text):
            path, _, fragment = unquote(address).partition("#")
            target = posixpath.normpath(posixpath.join(posixpath.dirname(chunk.document_id), path))
            if path and target in known and target != chunk.document_id:
                found[key(link_words)][target, slug(fragment)] = Link(link_words, slug(fragment))
    to: dict[str, list[Link]] = defaultdict(list)
    for targets in found.values():
        if len(targets) == 1:
            (((document, _), link),) = targets.items()
            to[document].append(link)
    return to


def slug(title: str) -> str:
    """Return the last heading of a title as addresses have it: ``Pumps > Bleed it!`` is ``bleed-it``."""
    last = title.rpartition(" > ")[2]
    return "-".join(words(last.replace("-", " ").lower()))


def _links(text: str) -> Iterator[tuple[str, str]]:
    """Yield words and address of each inline Markdown link: ``("bleeding the pump", "pump.md#bleed")``."""
    for line, _, in_code in _lines(text):
        if not in_code:
            yield from ((clean(match["words"]), match["address"]) for match in _LINK.finditer(line))


def _lines(text: str) -> Iterator[tuple[str, int, bool]]:
    """Yield each line, its position in the text, and whether it belongs to a code block."""
    at = 0
    for line, in_code in mark_code(text.splitlines(keepends=True)):
        yield line, at, in_code
        at += len(line)
