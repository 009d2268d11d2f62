"""Reader of Word files, with the text that stands in content controls, text boxes and tracked changes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from embexp.data.readers.problems import UnreadableError
from embexp.data.readers.reading import Reading, stream_of
from embexp.data.readers.sizes import check_archive
from embexp.data.readers.text import document_of, one_line
from embexp.data.records import Document

if TYPE_CHECKING:
    from docx.document import Document as WordDocument

_DAMAGE = (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError)
"""What the parser raises on damaged input, beside its own errors."""
_OLE = b"\xd0\xcf\x11\xe0"
"""Files of Office before 2007 begin with it, and encrypted ones of today."""
_DELETED = frozenset(("del", "moveFrom", "delText", "delInstrText", "instrText"))
_NO_TEXT = _DELETED | {"pPr", "rPr", "sdtPr", "sdtEndPr", "tblPr", "trPr", "tcPr", "sectPr", "rt"}
_MARKS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_NOTES = ("footnotes", "endnotes")
_ASIDE = ("header", "footer", "comments")


def read_docx(path: Path, reading: Reading) -> Iterator[Document]:
    """Read a Word file's paragraphs, headings, lists, tables, text boxes and notes.

    Tracked insertions are read, deletions are not. A merged cell is read once. Headers, footers, comments and
    the small letters above characters (ruby) are left out, and counted.

    Raises:
        UnreadableError: The file is not a Word file, is damaged, or a password protects it.
    """
    import docx
    from docx.opc.exceptions import OpcError
    from docx.oxml.ns import qn
    from lxml.etree import LxmlError

    stream = stream_of(path)
    check_container(path, stream.getvalue()[:8], "Word file (.docx)")
    try:
        check_archive(path, stream, reading.max_mb)
        file = docx.Document(stream)
        styles = {style.style_id: str(style.name or "") for style in file.styles}
        bodies = [file.element.body, *_parts(file, _NOTES)]
        parts = [part for body in bodies for part in _blocks(body, styles)]
        aside = any("".join(_blocks(part, styles)).strip() for part in _parts(file, _ASIDE))
        ruby = any("".join(note.itertext()).strip() for body in bodies for note in body.iter(qn("w:rt")))
        title = file.core_properties.title or ""
    except (OpcError, BadZipFile, LxmlError, *_DAMAGE) as error:
        message = f"{path}: not a Word file (.docx) that can be read ({error}); save it again."
        raise UnreadableError("broken file", message) from error
    if aside:
        reading.problems.count("Word file without its headers, footers and remarks", path.name)
    if ruby:
        reading.problems.count("Word file without its annotations of characters (ruby)", path.name)
    text = "\n\n".join(part for part in parts if part.strip())
    yield document_of(path, text, title="" if title == "Word Document" else title)


def check_container(path: Path, head: bytes, kind: str) -> None:
    """Refuse what only has the name of an Office file of today.

    Raises:
        UnreadableError: A password protects it, or it has the format of Office before 2007.
    """
    if head.startswith(_OLE):
        message = (
            f"{path}: a password protects this {kind}, or it has the format of Office before 2007; save it "
            "anew without a password, or leave it out."
        )
        raise UnreadableError("encrypted", message)


def _name(element: Any) -> str:
    """Return an element's name without its namespace; an empty string for comments and the like."""
    return str(element.tag).rpartition("}")[2] if isinstance(element.tag, str) else ""


def _value(element: Any, path: str) -> str | None:
    """Return the ``val`` of a property, an empty string if it has none, None where it is not set."""
    from docx.oxml.ns import qn

    found = element
    for step in path.split("/"):
        found = found.find(qn(f"w:{step}")) if found is not None else None
    return None if found is None else str(found.get(qn("w:val"), ""))


def _children(element: Any) -> Iterator[Any]:
    """Yield what is in force below an element: nothing deleted, and one of several alternatives."""
    for child in element:
        name = _name(child)
        if name == "AlternateContent":
            choice = next((part for part in child if _name(part) == "Choice"), None)
            yield from _children(choice if choice is not None else child)
        elif name and name not in _NO_TEXT:
            yield child


def _blocks(parent: Any, styles: Mapping[str, str]) -> Iterator[str]:
    """Yield the paragraphs and tables below an element, and the text boxes in them."""
    for child in _children(parent):
        name = _name(child)
        if name == "p":
            boxes: list[Any] = []
            yield _paragraph(child, styles, boxes)
            for box in boxes:
                yield from _blocks(box, styles)
        elif name == "tbl":
            yield from _table(child, styles)
        else:
            yield from _blocks(child, styles)


def _paragraph(paragraph: Any, styles: Mapping[str, str], boxes: list[Any]) -> str:
    text = "".join(_inline(paragraph, boxes)).strip()
    style = styles.get(_value(paragraph, "pPr/pStyle") or "", "")
    level = re.fullmatch(r"heading ([1-6])", style, re.IGNORECASE)
    if text and (level or style == "Title"):
        return f"{'#' * (int(level.group(1)) if level else 1)} {one_line(text)}"
    listed = style.startswith("List") or (_value(paragraph, "pPr/numPr/numId") or "0") != "0"
    return f"- {text}" if text and listed else text


def _inline(element: Any, boxes: list[Any]) -> Iterator[str]:
    """Yield the text of runs, and put the text boxes that are found into ``boxes``."""
    for child in _children(element):
        name = _name(child)
        if name == "t":
            yield child.text or ""
        elif name in _MARKS:
            yield _MARKS[name]
        elif name == "txbxContent":
            boxes.append(child)
        else:
            yield from _inline(child, boxes)


def _table(table: Any, styles: Mapping[str, str]) -> Iterator[str]:
    """Yield a table, a line for each row, then the tables and text boxes in its cells."""
    inner: list[str] = []
    lines: list[str] = []
    for row in _rows(table, "tr"):
        if _value(row, "trPr/del") is not None:
            continue
        cells: list[str] = []
        for cell in _rows(row, "tc"):
            if _value(cell, "tcPr/vMerge") not in (None, "restart"):
                continue  # the cell above goes on
            cells.append(_cell(cell, styles, inner))
        if any(cells):
            lines.append(" | ".join(cells))
    yield "\n".join(lines)
    yield from inner


def _rows(element: Any, name: str) -> Iterator[Any]:
    """Yield a table's rows, or a row's cells, also those in content controls."""
    for child in _children(element):
        if _name(child) == name:
            yield child
        elif _name(child) in ("sdt", "sdtContent", "ins", "customXml", "moveTo"):
            yield from _rows(child, name)


def _cell(cell: Any, styles: Mapping[str, str], inner: list[str]) -> str:
    texts: list[str] = []
    for child in _children(cell):
        if _name(child) == "tbl":
            inner += _table(child, styles)
        elif _name(child) == "p":
            boxes: list[Any] = []
            texts.append("".join(_inline(child, boxes)))
            for box in boxes:
                inner += _blocks(box, styles)
        else:
            texts.append(_cell(child, styles, inner))
    return one_line(" ".join(texts))


def _parts(file: WordDocument, kinds: tuple[str, ...]) -> Iterator[Any]:
    """Yield the parts of a file that stand beside its body, such as the footnotes."""
    from lxml import etree

    for relation in file.part.rels.values():
        if relation.reltype.rpartition("/")[2] in kinds and not relation.is_external:
            yield etree.fromstring(relation.target_part.blob)
