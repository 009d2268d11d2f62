"""Lines that most documents repeat, such as navigation and footers, are left out of passages."""

from __future__ import annotations

import json
import logging
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace

from embexp.data.fences import mark_code
from embexp.data.records import Document
from embexp.progress import READING_DOCUMENTS, expect_in_job

log = logging.getLogger(__name__)

REPEATED_LINES = "repeated_lines"
"""The key in a document's metadata that says how many lines were left out of it."""
_LEAST_DOCUMENTS = 10
"""Fewer documents cannot tell what is repeated from what is alike."""
_LEAST_PAGES = 4
_SHARE = 0.5
_MOST_COUNTED = 500_000
"""Lines that are counted at once; rare ones are then forgotten, so that memory is bounded."""
_RARE = 0.1
_SHOWN = 5
_LONGEST_SHOWN = 80
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]{2,}")


def without_repeated_lines(
    documents: Iterable[Document], *, place: str, option: str, most: int | None = None
) -> Iterator[Document]:
    """Yield the documents without the lines that more than half of them hold, and log these.

    Case, white space and numbers do not matter, so that "Page 3 of 9" equals "Page 4 of 12". Headings, rows
    of tables and code stay, and so does a document that has nothing else. The documents are kept in a
    temporary file between the two passes.

    Args:
        documents: The documents.
        place: Where they come from, for the log.
        option: The option that keeps the lines, for the log.
        most: How many of the documents are used, for the progress bar; None for all.
    """
    counts: Counter[str] = Counter()
    total = 0
    pruned = False
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stream:
        for document in documents:
            stream.write(json.dumps(asdict(document)) + "\n")
            counts.update({key for key in _keys(document.text) if key})
            total += 1
            if len(counts) > _MOST_COUNTED:
                counts = Counter({key: count for key, count in counts.items() if count >= _RARE * total})
                pruned = True
        bound = (_SHARE - (_RARE if pruned else 0)) * total
        repeated = {key for key, count in counts.items() if count > bound and total >= _LEAST_DOCUMENTS}
        stream.seek(0)
        removed: Counter[str] = Counter()
        expect_in_job(READING_DOCUMENTS, total if most is None else min(total, most))
        for line in stream:
            yield _without(Document(**json.loads(line)), repeated, removed)
    _log(removed, total, place=place, option=option)


def without_page_lines(pages: Sequence[str]) -> tuple[list[str], int]:
    """Return the texts of pages without the first and last lines that most of them repeat, and their number.

    Those are running headers and footers. Fewer than four pages stay as they are.
    """
    if len(pages) < _LEAST_PAGES:
        return list(pages), 0
    counts = Counter(key for page in pages for key in {_key(line) for line in _edges(page)} if key)
    repeated = {key for key, count in counts.items() if count > _SHARE * len(pages)}
    texts, removed = [], 0
    for page in pages:
        lines = page.split("\n")
        edges = set(_edges(page))
        kept = [line for line in lines if line not in edges or _key(line) not in repeated]
        removed += len(lines) - len(kept)
        texts.append("\n".join(kept).strip())
    return texts, removed


def _edges(page: str) -> list[str]:
    """Return the first two and the last two lines of a page that hold anything."""
    lines = [line for line in page.split("\n") if line.strip()]
    return [*lines[:2], *lines[2:][-2:]]


def _without(document: Document, repeated: set[str], removed: Counter[str]) -> Document:
    if not repeated:
        return document
    lines = document.text.split("\n")
    keys = _keys(document.text)
    kept = [line for line, key in zip(lines, keys, strict=True) if key not in repeated]
    if len(kept) == len(lines) or not any(line.strip() and not line.startswith("#") for line in kept):
        return document
    first = {key: " ".join(line.split()) for line, key in zip(lines, keys, strict=True) if key in repeated}
    removed.update(first.values())
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip("\n")
    metadata = {**document.metadata, REPEATED_LINES: str(len(lines) - len(kept))}
    return replace(document, text=text, metadata=metadata)


def _keys(text: str) -> list[str]:
    """Return what each line is compared by; empty for lines that stay."""
    return ["" if in_code else _key(line) for line, in_code in mark_code(text.split("\n"))]


def _key(line: str) -> str:
    """Return a line in lower case, with one kind of white space and of numbers; empty for one that stays.

    A line needs a word: rules and lone signs are markup. Headings and rows of tables are structure.
    """
    bare = line.strip()
    if not _WORD.search(bare) or bare.startswith(("#", "|", "    ", "\t")):
        return ""
    return _NUMBER.sub("0", " ".join(bare.casefold().split()))


def _log(removed: Counter[str], total: int, *, place: str, option: str) -> None:
    if not removed:
        return
    shown = ", ".join(f"“{line[:_LONGEST_SHOWN]}” ({count:,})" for line, count in removed.most_common(_SHOWN))
    more = ", …" if len(removed) > _SHOWN else ""
    log.info(
        "%s: lines that most of the %s documents repeat are left out, %s in all: %s%s. %s keeps them.",
        *(place, f"{total:,}", f"{removed.total():,}", shown, more, option),
    )
