"""Readers of plain text and Markdown; also titles and summary sentences, which all readers share.

A reader takes a path and yields documents, with headings always as ``# Heading`` lines. It names the
documents after the file; the folder that calls it adds the path. Readers fetch nothing: no network, no
included files, no external entities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.data.readers.encoding import clean, open_text
from embexp.data.readers.problems import Problems
from embexp.data.records import Document

if TYPE_CHECKING:
    from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)\n---[ \t]*\n", re.DOTALL)
_MORE_INFORMATION = re.compile(r"^\s*more information:.*$\n?", re.IGNORECASE | re.MULTILINE)
_REMARK = re.compile(r"\W*(note|warning|caution|important|tip|danger|deprecated)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])[)\"'*_]*\s+(?=[A-Z0-9`\"'(\[*])")
_ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "vs.", "cf.", "approx.", "incl.", "no.", "dr.", "mr.", "st.")
_MIN_QUERY_WORDS = 2
_MAX_QUERY_WORDS = 40


def read_plain(path: Path) -> Iterator[Document]:
    """Read a text file as it is; its title is the file's stem."""
    yield Document(path.name, read_text(path).strip(), path.stem, path.name)


def read_markdown(path: Path) -> Iterator[Document]:
    """Read a Markdown file; a quotation right after the title is taken as the page's summary."""
    from markdown_it import MarkdownIt

    text = read_text(path)
    title = ""
    if front := _FRONT_MATTER.match(text):
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
    if occurs_in(summary, text):  # nothing is lost: the text says it a second time
        summary = ""
    yield document_of(path, text, title=title, summary=summary)


def _replace(lines: list[str | None], span: list[int], text: str) -> None:
    """Put a text in place of some lines; removed lines become None, so that line numbers stay right."""
    start, end = span
    lines[start:end] = [text or None] + [None] * (end - start - 1)


def _cut_quotation(lines: list[str | None], tokens: list[Token]) -> str:
    """Cut the first sentence out of a quotation that opens the page; its other lines become plain text."""
    first = 3 if tokens and tokens[0].type == "heading_open" else 0
    span = tokens[first].map if len(tokens) > first else None
    if not span or tokens[first].type != "blockquote_open":
        return ""
    quoted = "\n".join(re.sub(r"^\s*> ?", "", line or "") for line in lines[span[0] : span[1]])
    quoted = _MORE_INFORMATION.sub("", quoted).strip()
    paragraph, _, others = quoted.partition("\n\n")
    summary, rest = first_sentence(paragraph)
    if _REMARK.match(quoted) or not is_query(summary):
        return ""
    _replace(lines, span, "\n\n".join(part for part in (rest, others) if part))
    return summary


def document_of(path: Path, text: str, *, title: str = "", summary: str = "") -> Document:
    """Build the document of a file: a leading heading leaves the text if it is the title or becomes it.

    Args:
        path: The file; its stem is the title if there is no other.
        text: The text, with headings as ``# Heading`` lines.
        title: The title that the file declares, if any.
        summary: A sentence that was cut out of the text.
    """
    leading = re.match(r"\s*#{1,6} +(\S[^\n]*)(?:\n|\Z)", text)
    heading = leading.group(1).strip() if leading else ""
    if leading and (not title or one_line(heading) == one_line(title)):
        title, text = heading, text[leading.end() :]
    metadata = {"summary": summary} if summary else {}
    return Document(path.name, text.strip("\n").rstrip(), one_line(title) or path.stem, path.name, metadata)


def read_text(path: Path, problems: Problems | None = None, *, encoding: str | None = None) -> str:
    """Return a text file's content with ``\\n`` line ends.

    Args:
        path: The file, which may be compressed (.gz, .zst).
        problems: Counts the characters that have to be replaced.
        encoding: The file's encoding; None lets the bytes decide.

    Raises:
        UnreadableError: The file is not text.
        DataError: A character has to be replaced and ``on_error`` is ``fail``.
    """
    with open_text(path, problems, encoding=encoding) as stream:
        return clean(stream.read())


def first_sentence(paragraph: str) -> tuple[str, str]:
    """Split a paragraph into its first sentence, on one line, and the text after it."""
    for match in _SENTENCE_END.finditer(paragraph):
        head = paragraph[: match.end()].strip()
        if not head.lower().endswith(_ABBREVIATIONS):
            return one_line(head), paragraph[match.end() :].strip()
    return one_line(paragraph), ""


def one_line(text: str) -> str:
    """Return the text with each run of white space replaced by one space."""
    return " ".join(text.split())


def is_query(sentence: str) -> bool:
    """Return whether a sentence can serve as a query: 2 to 40 words, with letters in at least two."""
    words = [word for word in sentence.split() if any(letter.isalpha() for letter in word)]
    return len(words) >= _MIN_QUERY_WORDS and len(sentence.split()) <= _MAX_QUERY_WORDS


def occurs_in(sentence: str, text: str) -> bool:
    """Return whether a text contains a sentence, ignoring case, spacing and the final full stop."""
    wanted = one_line(sentence).casefold().rstrip(".!?: ")
    return bool(wanted) and wanted in one_line(text).casefold()
