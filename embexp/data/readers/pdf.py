"""Reader of PDFs: their text layer, column by column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embexp.data.readers.encoding import clean
from embexp.data.readers.problems import UnreadableError
from embexp.data.readers.reading import Reading, stream_of
from embexp.data.readers.text import document_of, one_line
from embexp.data.records import Document
from embexp.data.repeated_lines import without_page_lines

if TYPE_CHECKING:
    from io import BytesIO

    from pdfminer.layout import LTPage, LTTextBox
    from pdfminer.pdfdocument import PDFDocument

_OCR = "recognise its text first, with OCR software such as ocrmypdf, or leave it out"
_SHOWN_PAGES = 10
_SAME_HEIGHT = 2.0
"""Points."""
_CELL_LETTERS = 24
_CELL_WORDS = 3
_UNKNOWN_GLYPH = re.compile(r"\(cid:\d+\)")


def read_pdf(path: Path, reading: Reading) -> Iterator[Document]:
    """Read a PDF's text layer, page by page and column by column; its title is the one in its properties.

    Pages without text are counted and named.

    Raises:
        UnreadableError: The file is damaged, has no text at all, or a password protects it.
    """
    import logging

    logging.getLogger("pdfminer").setLevel(logging.ERROR)  # it warns of every flaw that it repairs
    stream = stream_of(path)
    try:
        document = _opened(path, stream, reading.password)
        pages = [_page_text(page) for page in _layout(document)]
        title = _title(document)
    except UnreadableError:
        raise
    except Exception as error:
        reason = one_line(f"{type(error).__name__} {error}")[:200]
        message = f"{path}: not a PDF that can be read ({reason}); is it complete? Download or save it again."
        raise UnreadableError("broken file", message) from error
    _report_empty(path, pages, reading)
    texts = [text for text, _ in pages]
    if not reading.page_lines:
        texts, removed = without_page_lines(texts)
        if removed:
            reading.problems.count("repeated header or footer of a PDF's pages", path.name)
    text = "\n\n".join(text for text in texts if text)
    yield document_of(path, text, title=title)


def _opened(path: Path, stream: BytesIO, password: str | None) -> PDFDocument:
    from pdfminer.pdfdocument import PDFDocument, PDFEncryptionError, PDFPasswordIncorrect
    from pdfminer.pdfparser import PDFParser

    try:
        try:
            return PDFDocument(PDFParser(stream), password="")
        except PDFPasswordIncorrect:
            if password is None:
                raise
            return PDFDocument(PDFParser(stream), password=password)
    except PDFPasswordIncorrect as error:
        wrong = "" if password is None else ", and dataset.password does not open it"
        message = (
            f"{path}: a password protects this PDF{wrong}; give it with dataset.password=…, or leave the "
            "file out with dataset.exclude."
        )
        raise UnreadableError("encrypted", message) from error
    except PDFEncryptionError as error:
        message = f"{path}: this PDF is encrypted in a way that cannot be read ({error}); save it without."
        raise UnreadableError("encrypted", message) from error


def _layout(document: PDFDocument) -> Iterator[LTPage]:
    """Yield the pages with their text in boxes, in reading order: down a column, then the next one."""
    from pdfminer.converter import PDFPageAggregator
    from pdfminer.layout import LAParams
    from pdfminer.pdfinterp import PDFPageInterpreter, PDFResourceManager
    from pdfminer.pdfpage import PDFPage

    resources = PDFResourceManager()
    device = PDFPageAggregator(resources, laparams=LAParams(all_texts=True))
    interpreter = PDFPageInterpreter(resources, device)
    for page in PDFPage.create_pages(document):
        interpreter.process_page(page)
        yield device.get_result()


def _page_text(page: LTPage) -> tuple[str, bool]:
    """Return a page's text, and whether it holds pictures."""
    from pdfminer.layout import LTImage, LTTextBox

    items = [*_items(page)]
    boxes = [item for item in items if isinstance(item, LTTextBox)]
    texts: list[str] = []
    for together in _tables(boxes):
        if len(together) == 1:
            texts.append(_joined(together[0].get_text()))
        else:
            rows = zip(*together, strict=True)
            texts.append("\n".join(" | ".join(one_line(cell.get_text()) for cell in row) for row in rows))
    pictures = any(isinstance(item, LTImage) for item in items)
    return clean("\n\n".join(text for text in texts if text)), pictures


def _items(container: Any) -> Iterator[Any]:
    """Yield what is on a page, also within drawings."""
    from pdfminer.layout import LTFigure

    for item in container:
        if isinstance(item, LTFigure):
            yield from _items(item)
        else:
            yield item


def _tables(boxes: Iterable[LTTextBox]) -> Iterator[list[LTTextBox]]:
    """Yield boxes one by one, and together those that are the columns of a table.

    Columns of a table have short lines at the same heights; columns of prose have long ones.
    """
    table: list[LTTextBox] = []
    for box in boxes:
        if table and not _same_rows(table[-1], box):
            yield table
            table = []
        table.append(box)
    if table:
        yield table


def _same_rows(one: LTTextBox, other: LTTextBox) -> bool:
    lines, others = [*one], [*other]
    if len(lines) != len(others) or other.x0 < one.x1:
        return False
    level = all(abs(line.y0 - beside.y0) < _SAME_HEIGHT for line, beside in zip(lines, others, strict=True))
    return level and all(_short(line.get_text()) for line in (*lines, *others))


def _short(line: str) -> bool:
    return len(line) <= _CELL_LETTERS and len(line.split()) <= _CELL_WORDS


def _joined(text: str) -> str:
    """Join words that a line break divides, and drop blanks at line ends."""
    text = _UNKNOWN_GLYPH.sub("\ufffd", text)
    return re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", re.sub(r"[ \t]+\n", "\n", text)).strip()


def _report_empty(path: Path, pages: list[tuple[str, bool]], reading: Reading) -> None:
    """Name the pages without text.

    Raises:
        UnreadableError: No page has text.
    """
    empty = [number for number, (text, _) in enumerate(pages, start=1) if not text]
    if len(empty) == len(pages):
        scanned = any(pictures for _, pictures in pages)
        what = "only pictures of pages: it is a scan" if scanned else "no text on any page"
        raise UnreadableError("PDF without text", f"{path}: this PDF holds {what}; {_OCR}.")
    scanned_pages = [number for number in empty if pages[number - 1][1]]
    if scanned_pages:
        shown = ", ".join(map(str, scanned_pages[:_SHOWN_PAGES]))
        more = ", …" if len(scanned_pages) > _SHOWN_PAGES else ""
        count = f"{len(scanned_pages):,} of {len(pages):,} pages"
        message = f"{path}: {count} hold pictures and no text ({shown}{more}); the others are read; {_OCR}."
        reading.problems.report("PDF with scanned pages", message)


def _title(document: PDFDocument) -> str:
    from pdfminer.pdftypes import resolve1
    from pdfminer.utils import decode_text

    title = next((resolve1(info["Title"]) for info in document.info if info.get("Title")), "")
    title = decode_text(title) if isinstance(title, bytes) else str(title)
    return "" if title.lower() in ("untitled", "(anonymous)") else one_line(clean(title))
