"""One reader for each format of a folder: a path in, documents out, headings always as ``# Heading`` lines.

A reader names its documents after the file; the folder that calls it puts the path in. Readers fetch
nothing: no network, no included files, no external entities.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.data.readers.encodings import read_text
from embexp.data.records import Document
from embexp.data.summaries import first_sentence, one_line, stands_in, usable
from embexp.errors import DataError

if TYPE_CHECKING:
    from markdown_it.token import Token

Reader = Callable[[Path], Iterator[Document]]
FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*\n", re.DOTALL)
MORE_INFORMATION = re.compile(r"^\s*more information:.*$\n?", re.IGNORECASE | re.MULTILINE)
REMARK = re.compile(r"\W*(note|warning|caution|important|tip|danger|deprecated)\b", re.IGNORECASE)


class UnreadableError(DataError):
    """A file whose content its parser cannot use; ``reason`` is what the folder counts it under."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def document(path: Path, text: str, *, title: str = "", summary: str = "") -> Document:
    """Build a file's document: the title falls back to the file's stem, the leading title leaves the text."""
    heading, rest = leading_heading(text)
    if heading and (not title or one_line(heading) == one_line(title)):
        title, text = heading, rest
    metadata = {"summary": summary} if summary else {}
    return Document(path.name, text.strip("\n").rstrip(), one_line(title) or path.stem, path.name, metadata)


def leading_heading(text: str) -> tuple[str, str]:
    """Return the heading that a text begins with and the text after it; ("", text) if there is none."""
    match = re.match(r"\s*#{1,6} +(\S[^\n]*)(?:\n|\Z)", text)
    return (match.group(1).strip(), text[match.end() :]) if match else ("", text)


def read_plain(path: Path) -> Iterator[Document]:
    """Read a text file as it stands; its title is the file's stem."""
    yield Document(path.name, read_text(path).strip(), path.stem, path.name)


def read_markdown(path: Path) -> Iterator[Document]:
    """Read a Markdown file; a quotation right after the title is taken for the page's summary."""
    from markdown_it import MarkdownIt

    text = read_text(path)
    title = ""
    if front := FRONT_MATTER.match(text):
        named = re.search(r"^title:\s*(.+)$", front.group(1), re.MULTILINE)
        title = named.group(1).strip("\"' ") if named else ""
        text = text[front.end() :]
    tokens = MarkdownIt("commonmark").parse(text)
    lines: list[str | None] = [*text.split("\n")]
    summary = _cut_quotation(lines, tokens)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open" and token.map and token.level == 0:
            _replace(lines, token.map, f"{'#' * int(token.tag[1])} {one_line(inline.content)}")
    text = "\n".join(line for line in lines if line is not None)
    if stands_in(summary, text):  # nothing is lost: the text says it a second time
        summary = ""
    yield document(path, text, title=title, summary=summary)


def _replace(lines: list[str | None], span: list[int], text: str) -> None:
    """Put a text in place of some lines; None marks a line as gone, so that line numbers stay right."""
    start, end = span
    lines[start:end] = [text or None] + [None] * (end - start - 1)


def _cut_quotation(lines: list[str | None], tokens: list[Token]) -> str:
    """Take the first sentence out of a quotation that opens the page; its other lines become plain text."""
    first = 3 if tokens and tokens[0].type == "heading_open" else 0
    span = tokens[first].map if len(tokens) > first else None
    if not span or tokens[first].type != "blockquote_open":
        return ""
    quoted = "\n".join(re.sub(r"^\s*> ?", "", line or "") for line in lines[span[0] : span[1]])
    quoted = MORE_INFORMATION.sub("", quoted).strip()
    paragraph, _, others = quoted.partition("\n\n")
    summary, rest = first_sentence(paragraph)
    if REMARK.match(quoted) or not usable(summary):
        return ""
    _replace(lines, span, "\n\n".join(part for part in (rest, others) if part))
    return summary
