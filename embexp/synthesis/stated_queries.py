"""Queries that stand in texts: questions, defined terms, captions, comments in code, words of links."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from embexp.data.fences import mark_code
from embexp.data.links import Targets, links_of
from embexp.data.records import Document
from embexp.data.table_rows import is_row
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
_COMMENT = re.compile(r"\s*(?:#+|//+|--|;+|%+)\s+(?P<text>\w.*)")

_DOCSTRING = re.compile(
    r"""(?:^|:)[ \t]*[rRuU]{0,2}(?P<sign>\"{3}|'{3})(?P<string>.*?)(?P=sign)"""  # Python
    r"|^[ \t]*/\*[*!](?P<block>(?:(?!/\*|\*/).)*)\*/"  # Java, JavaScript, C, PHP …
    r"|(?P<lines>(?:^[ \t]*//[/!][^\n]*(?:\n|\Z))+)",  # Rust, C#, Swift …
    re.DOTALL | re.MULTILINE,
)
_MARGIN = re.compile(r"^[ \t]*(?://[/!]|\*)?[ \t]*", re.MULTILINE)
_FIRST_SENTENCE = re.compile(
    r"(?:[\s*/!\"'`(\[]|<\w+>)*(?P<text>\w.*?)"
    r"(?:(?P<stop>[.!?])(?=\s|<|\Z)|\Z"
    r"|\n[ \t]*(?:(?://[/!]|\*)[ \t]*)?(?:\n|[@:]\w|\w+:[ \t]*\n))",  # an empty line, or a parameter's
    re.DOTALL,
)


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
    """Yield what comments say that code is for: first sentences of docstrings, and lines in code blocks.

    Docstrings, and documentation comments of other languages, are recognised without a code block, too.
    """
    for found in _DOCSTRING.finditer(text):
        first = _FIRST_SENTENCE.match(text, *found.span(found.lastgroup or 0))
        if first is not None:
            end = first.end("stop" if first["stop"] else "text")
            yield Sentence(clean(_MARGIN.sub("", first["text"])), first.start("text"), end)
    for line, start, in_code in _lines(text):
        match = _COMMENT.match(line) if in_code else None
        if match is not None:
            yield Sentence(clean(match["text"]), start, start + len(line.rstrip("\n")))


def captions(text: str) -> Iterator[Sentence]:
    """Yield the captions of tables: the line of prose above rows of cells."""
    lines = [each for each in _lines(text) if each[0].strip()]
    for above, first, second in zip(lines, lines[1:], lines[2:], strict=False):
        line, start, in_code = above
        if in_code or is_row(line) or not (is_row(first[0]) and is_row(second[0])):
            continue
        if not line.lstrip().startswith("#"):
            yield Sentence(clean(line), start, start + len(line.rstrip("\n")))


@dataclass(frozen=True, slots=True)
class Link:
    """The words of a link, and the heading that it leads to, as ``slug`` writes it; empty for none."""

    words: str
    fragment: str


def links_to(documents: Iterable[Document]) -> Mapping[str, Sequence[Link]]:
    """Return, for each document, the links of other documents that lead to it.

    Words that lead to several places ("here", "read more") describe none of them and are left out.
    """
    documents = list(documents)
    targets = Targets(document.id for document in documents)
    found: dict[str, dict[tuple[str, str], Link]] = defaultdict(dict)
    for document in documents:
        for link_words, address in links_of(document):
            path, _, fragment = address.partition("#")
            target = targets.find(path, source=document.id)
            if target is not None and target != document.id:
                link = Link(clean(link_words), slug(unquote(fragment)))
                found[key(link.words)][target, link.fragment] = link
    to: dict[str, list[Link]] = defaultdict(list)
    for places in found.values():
        if len(places) == 1:
            (((document_id, _), link),) = places.items()
            to[document_id].append(link)
    return to


def slug(title: str) -> str:
    """Return the last heading of a title as addresses have it: ``Pumps > Bleed it!`` is ``bleed-it``."""
    last = title.rpartition(" > ")[2]
    return "-".join(words(last.replace("-", " ").lower()))


def _lines(text: str) -> Iterator[tuple[str, int, bool]]:
    """Yield each line, its position in the text, and whether it belongs to a code block."""
    at = 0
    for line, in_code in mark_code(text.splitlines(keepends=True)):
        yield line, at, in_code
        at += len(line)
