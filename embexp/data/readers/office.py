"""Readers of office formats: PDF and Word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from embexp.data.readers.problems import UnreadableError
from embexp.data.readers.text import document_of, one_line
from embexp.data.records import Document

if TYPE_CHECKING:
    from docx.text.paragraph import Paragraph
    from pypdf import PdfReader

# What the parsers raise on damaged input, beside their own errors.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RecursionError,
    ZeroDivisionError,
)


def read_pdf(path: Path) -> Iterator[Document]:
    """Read a PDF's text layer, page by page; its title is the one in its properties.

    Raises:
        UnreadableError: The file is damaged, or a password protects it.
    """
    import logging

    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of every flaw that it repairs
    try:
        with path.open("rb") as stream:
            reader = PdfReader(stream, strict=False)
            if reader.is_encrypted and not reader.decrypt(""):
                raise FileNotDecryptedError
            text = "\n\n".join(_page_text(page.extract_text()) for page in reader.pages)
            title = _pdf_title(reader)
    except (FileNotDecryptedError, DependencyError) as error:
        message = f"{path}: a password protects this PDF; save it without, or set dataset.exclude."
        raise UnreadableError("encrypted", message) from error
    except (PyPdfError, *_DAMAGE) as error:
        raise UnreadableError("broken file", f"{path}: not a PDF that can be read ({error}).") from error
    yield document_of(path, text, title=title)


def _page_text(text: str) -> str:
    """Join words that a line break divides, and drop blanks at line ends."""
    return re.sub(r"(?<=[a-z])-\n(?=[a-z])", "", re.sub(r"[ \t]+\n", "\n", text)).strip()


def _pdf_title(reader: PdfReader) -> str:
    title = reader.metadata.title if reader.metadata else None
    return one_line(str(title)) if title and str(title).lower() not in ("untitled", "(anonymous)") else ""


def read_docx(path: Path) -> Iterator[Document]:
    """Read a Word file's paragraphs, headings and tables.

    Raises:
        UnreadableError: The file is not a Word file, is damaged, or a password protects it.
    """
    import docx
    from docx.opc.exceptions import OpcError
    from docx.table import Table
    from lxml.etree import LxmlError

    try:
        file = docx.Document(str(path))
        parts = [
            "\n".join(" | ".join(one_line(cell.text) for cell in row.cells) for row in block.rows)
            if isinstance(block, Table)
            else _word_paragraph(block)
            for block in file.iter_inner_content()
        ]
        title = file.core_properties.title or ""
    except (OpcError, BadZipFile, LxmlError, *_DAMAGE) as error:
        message = (
            f"{path}: not a Word file (.docx) that can be read ({error}); is it protected by a password?"
        )
        raise UnreadableError("broken file", message) from error
    text = "\n\n".join(part for part in parts if part)
    yield document_of(path, text, title="" if title == "Word Document" else title)


def _word_paragraph(paragraph: Paragraph) -> str:
    text = str(paragraph.text).strip()
    style = str(paragraph.style.name) if paragraph.style else ""
    level = re.fullmatch(r"Heading ([1-6])", style)
    if text and (level or style == "Title"):
        return f"{'#' * (int(level.group(1)) if level else 1)} {one_line(text)}"
    return f"- {text}" if text and style.startswith("List") else text
