"""One reader for each file format: a path in, documents or rows out."""

from __future__ import annotations

from embexp.data.readers.markup import read_html, read_rst
from embexp.data.readers.office import read_docx, read_pdf
from embexp.data.readers.problems import OnError, Problems, UnreadableError
from embexp.data.readers.tables import DocumentColumns, Row, read_rows, read_table
from embexp.data.readers.text import document_of, read_markdown, read_plain, read_text

__all__ = [
    "DocumentColumns",
    "OnError",
    "Problems",
    "Row",
    "UnreadableError",
    "document_of",
    "read_docx",
    "read_html",
    "read_markdown",
    "read_pdf",
    "read_plain",
    "read_rows",
    "read_rst",
    "read_table",
    "read_text",
]
