"""Reader of EPUB books: their chapters, in reading order."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from zipfile import BadZipFile, ZipFile

from embexp.data.readers.encoding import decode
from embexp.data.readers.html import count_left_out, html_text, parse_html
from embexp.data.readers.problems import UnreadableError
from embexp.data.readers.reading import Reading, stream_of
from embexp.data.readers.sizes import check_archive
from embexp.data.readers.text import document_of, one_line
from embexp.data.records import Document

_PAGES = ("application/xhtml+xml", "text/html")
_DRM = "META-INF/rights.xml"


def read_epub(path: Path, reading: Reading) -> Iterator[Document]:
    """Read a book's chapters as one document; the table of contents is left out.

    Raises:
        UnreadableError: The file is not an EPUB book, is damaged, or its rights are protected.
    """
    from lxml import etree

    try:
        stream = stream_of(path)
        check_archive(path, stream, reading.max_mb)
        with ZipFile(stream) as book:
            if _DRM in book.namelist():
                message = f"{path}: this book is locked by its seller (DRM); leave it out."
                raise UnreadableError("encrypted", message)
            title, pages = _contents(book)
            chapters = [_chapter(book.read(name), f"{path}: {name}", reading) for name in pages]
    except (BadZipFile, KeyError, etree.LxmlError, OSError, ValueError, NotImplementedError) as error:
        message = f"{path}: not an EPUB book that can be read ({error}); download or save it again."
        raise UnreadableError("broken file", message) from error
    yield document_of(path, "\n\n".join(filter(None, chapters)), title=title)


def _contents(book: ZipFile) -> tuple[str, list[str]]:
    """Return a book's title, and the names of its pages in reading order."""
    container = _parsed(book.read("META-INF/container.xml"))
    package_name = next(iter(container.xpath("//*[local-name()='rootfile']/@full-path")), "")
    package = _parsed(book.read(package_name))
    titles = package.xpath("//*[local-name()='metadata']/*[local-name()='title']/text()")
    items = {item.get("id"): item for item in package.xpath("//*[local-name()='item']")}
    pages: list[str] = []
    for name in package.xpath("//*[local-name()='spine']/*[local-name()='itemref']/@idref"):
        item = items.get(name)
        if item is None or item.get("media-type") not in _PAGES or _is_contents(item):
            continue
        href = unquote(item.get("href") or "").partition("#")[0]
        pages.append(posixpath.normpath(posixpath.join(posixpath.dirname(package_name), href)))
    return one_line(titles[0]) if titles else "", list(dict.fromkeys(pages))


def _is_contents(item: Any) -> bool:
    return "nav" in (item.get("properties") or "").split()


def _parsed(source: bytes) -> Any:
    from lxml import etree

    return etree.fromstring(source, etree.XMLParser(resolve_entities=False, no_network=True, recover=True))


def _chapter(raw: bytes, where: str, reading: Reading) -> str:
    page = parse_html(decode(raw, where, reading.problems))
    if page is None:
        return ""
    count_left_out(page, "EPUB chapter", where, reading.problems)
    return html_text(page)
