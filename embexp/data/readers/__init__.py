"""One reader for each file format: a path in, documents or rows out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embexp.package import lazy_exports

if TYPE_CHECKING:
    from embexp.data.readers.epub import read_epub
    from embexp.data.readers.html import read_html
    from embexp.data.readers.mail import read_mail
    from embexp.data.readers.markdown import read_markdown, read_mdx, read_notebook
    from embexp.data.readers.markup import read_asciidoc, read_rst
    from embexp.data.readers.office import read_odf, read_pptx, read_xlsx
    from embexp.data.readers.pdf import read_pdf
    from embexp.data.readers.problems import OnError, Problems, UnreadableError
    from embexp.data.readers.reading import Reader, Reading
    from embexp.data.readers.tables import DocumentColumns, Row, read_rows, read_table
    from embexp.data.readers.text import document_of, read_plain, read_text
    from embexp.data.readers.word import read_docx

__all__ = [
    "DocumentColumns",
    "OnError",
    "Problems",
    "Reader",
    "Reading",
    "Row",
    "UnreadableError",
    "document_of",
    "read_asciidoc",
    "read_docx",
    "read_epub",
    "read_html",
    "read_mail",
    "read_markdown",
    "read_mdx",
    "read_notebook",
    "read_odf",
    "read_pdf",
    "read_plain",
    "read_pptx",
    "read_rows",
    "read_rst",
    "read_table",
    "read_text",
    "read_xlsx",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "epub": "read_epub",
        "html": "read_html",
        "mail": "read_mail",
        "markdown": "read_markdown read_mdx read_notebook",
        "markup": "read_asciidoc read_rst",
        "office": "read_odf read_pptx read_xlsx",
        "pdf": "read_pdf",
        "problems": "OnError Problems UnreadableError",
        "reading": "Reader Reading",
        "tables": "DocumentColumns Row read_rows read_table",
        "text": "document_of read_plain read_text",
        "word": "read_docx",
    },
)
