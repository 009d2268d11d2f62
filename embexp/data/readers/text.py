"""Reader of plain text; also titles and summary sentences, which all readers share.

A reader takes a path and a ``Reading``, and yields documents, with headings always as ``# Heading``
lines. It names the documents after the file; the folder that calls it adds the path. Readers fetch
nothing: no network, no included files, no external entities.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from embexp.data.links import links_metadata
from embexp.data.readers.encoding import COMPRESSIONS, clean, open_text
from embexp.data.readers.problems import Problems, printable
from embexp.data.readers.reading import Reading
from embexp.data.records import Document
from embexp.data.words import CLOSERS, UNSPACED_ENDS, unspaced, words

_SENTENCE_END = re.compile(
    r"(?<=[.!?])[)\"'*_]*\s+(?=[A-Z0-9`\"'(\[*])" rf"|[{UNSPACED_ENDS}]+[{CLOSERS}]*\s*|(?<=[।॥؟۔])\s+"
)
_ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "vs.", "cf.", "approx.", "incl.", "no.", "dr.", "mr.", "st.")
_MIN_QUERY_WORDS = 2
_MAX_QUERY_WORDS = 40
_MAX_QUERY_LETTERS = 80
"""In scripts without spaces."""


def read_plain(path: Path, reading: Reading) -> Iterator[Document]:
    """Read a text file as it is; its title is the file's stem."""
    text = read_text(path, reading.problems, encoding=reading.encoding).strip()
    yield Document(path.name, text, stem_of(path), path.name)


def document_of(
    path: Path,
    text: str,
    *,
    title: str = "",
    summary: str = "",
    links: Iterable[tuple[str, str]] = (),
) -> Document:
    """Build the document of a file: a leading heading leaves the text if it is the title or becomes it.

    Args:
        path: The file; its stem is the title if there is no other.
        text: The text, with headings as ``# Heading`` lines.
        title: The title that the file declares, if any.
        summary: A sentence that was cut out of the text.
        links: Words and address of each link in it; those to other files are kept.
    """
    leading = re.match(r"\s*#{1,6} +(\S[^\n]*)(?:\n|\Z)", text)
    heading = leading.group(1).strip() if leading else ""
    if leading and (not title or one_line(heading) == one_line(title)):
        title, text = heading, text[leading.end() :]
    metadata = {**({"summary": summary} if summary else {}), **links_metadata(links)}
    return Document(
        path.name, text.strip("\n").rstrip(), one_line(title) or stem_of(path), path.name, metadata
    )


def stem_of(path: Path) -> str:
    """Return a file's name without the suffixes of its format and its compression."""
    return printable(Path(path.stem).stem if path.suffix.lower() in COMPRESSIONS else path.stem)


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
    """Return whether a sentence can serve as a query: 2 to 40 words, with letters in at least two.

    In scripts without spaces, 2 to 80 letters.
    """
    spaced = not unspaced(sentence)
    parts = sentence.split() if spaced else words(sentence)
    with_letters = [part for part in parts if any(letter.isalpha() for letter in part)]
    most = _MAX_QUERY_WORDS if spaced else _MAX_QUERY_LETTERS
    return len(with_letters) >= _MIN_QUERY_WORDS and len(parts) <= most


def occurs_in(sentence: str, text: str) -> bool:
    """Return whether a text contains a sentence, ignoring case, spacing and the final full stop."""
    wanted = one_line(sentence).casefold().rstrip(".!?:。！？ ")
    return bool(wanted) and wanted in one_line(text).casefold()
