"""Readers of presentations, spreadsheets and OpenDocument files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from embexp.data.readers.problems import UnreadableError
from embexp.data.readers.reading import Reading, stream_of
from embexp.data.readers.sizes import check_archive, check_text
from embexp.data.readers.text import document_of, one_line
from embexp.data.readers.word import check_container
from embexp.data.records import Document

_NO_TEXT = frozenset(
    ("tracked-changes", "annotation", "annotation-end", "note-citation", "forms", "ruby-text")
)
_DAMAGE = (OSError, ValueError, NotImplementedError, EOFError)
"""What the decompression of a damaged file raises."""
_MAX_SPACES = 1_000


def read_pptx(path: Path, reading: Reading) -> Iterator[Document]:
    """Read a presentation's slides: titles, text, tables and notes; charts and diagrams are counted.

    Raises:
        UnreadableError: The file is not a presentation, is damaged, or a password protects it.
    """
    import pptx

    stream = stream_of(path)
    check_container(path, stream.getvalue()[:8], "presentation (.pptx)")
    try:
        check_archive(path, stream, reading.max_mb)
        file = pptx.Presentation(stream)
        parts = [part for number, slide in enumerate(file.slides, start=1) for part in _slide(slide, number)]
        drawn = sum(_is_drawn(shape) for slide in file.slides for shape in slide.shapes)
        title = file.core_properties.title or ""
    except UnreadableError:
        raise
    except Exception as error:
        raise _broken(path, "a presentation (.pptx)", error) from error
    if drawn:
        reading.problems.count("presentation without its charts and diagrams", f"{path.name}: {drawn}")
    title = "" if title == "PowerPoint Presentation" else title
    yield document_of(path, _joined(parts), title=title)


def _broken(path: Path, kind: str, error: Exception) -> UnreadableError:
    reason = one_line(f"{type(error).__name__} {error}")[:200]
    return UnreadableError("broken file", f"{path}: cannot be read as {kind} ({reason}); save it again.")


def _joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part.strip())


def _slide(slide: Any, number: int) -> Iterator[str]:
    title = slide.shapes.title
    heading = one_line(title.text_frame.text) if title is not None and title.has_text_frame else ""
    texts = [text for shape in slide.shapes if shape != title for text in _shape(shape)]
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        texts.append(slide.notes_slide.notes_text_frame.text)
    if heading or any(text.strip() for text in texts):
        yield f"## {heading or f'Slide {number}'}"
        yield from texts


def _shape(shape: Any) -> Iterator[str]:
    """Yield the texts of a shape, and of those grouped in it."""
    from pptx.enum.shapes import MSO_SHAPE_TYPE

    if shape.shape_type == MSO_SHAPE_TYPE.GROUP:
        for inner in shape.shapes:
            yield from _shape(inner)
    elif shape.has_text_frame:
        yield shape.text_frame.text.replace("\v", "\n")
    elif shape.has_table:
        rows = (
            [one_line(cell.text) for cell in row.cells if not cell.is_spanned] for row in shape.table.rows
        )
        yield "\n".join(" | ".join(row) for row in rows)


def _is_drawn(shape: Any) -> bool:
    """Return whether a shape is a chart or a diagram, whose text is not read."""
    from pptx.shapes.graphfrm import GraphicFrame

    return isinstance(shape, GraphicFrame) and not shape.has_table


def read_xlsx(path: Path, reading: Reading) -> Iterator[Document]:
    """Read a workbook's sheets, a line for each row.

    Formulas show the values that were saved with them; one without a saved value is read as it is written,
    and counted.

    Raises:
        UnreadableError: The file is not a workbook, is damaged, or a password protects it.
    """
    import warnings

    import openpyxl

    stream = stream_of(path)
    check_container(path, stream.getvalue()[:8], "workbook (.xlsx)")
    try:
        check_archive(path, stream, reading.max_mb)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that hold no text
            values = openpyxl.load_workbook(stream, read_only=True, data_only=True)
            formulas = openpyxl.load_workbook(stream, read_only=True)
            unsaved: list[str] = []
            sheets = zip(values.worksheets, formulas.worksheets, strict=True)
            parts: list[str] = []
            for pair in sheets:
                parts += _sheet(*pair, unsaved, lambda letters: check_text(path, letters, reading.max_mb))
            title = values.properties.title or ""
    except UnreadableError:
        raise
    except Exception as error:
        raise _broken(path, "a workbook (.xlsx)", error) from error
    if unsaved:
        reading.problems.count("workbook with formulas without a saved value", f"{path.name}: {unsaved[0]}")
    yield document_of(path, _joined(parts), title=title)


def _sheet(values: Any, formulas: Any, unsaved: list[str], check: Callable[[int], None]) -> Iterator[str]:
    """Yield a sheet's title and rows; ``check`` bounds the text, since cells may repeat one of the file's."""
    lines: list[str] = []
    letters = 0
    for sheet in (values, formulas):
        sheet.reset_dimensions()  # the size that a file claims may be a million empty rows
    rows = zip(values.iter_rows(values_only=True), formulas.iter_rows(values_only=True), strict=True)
    for saved, written in rows:
        unsaved += [str(text) for value, text in zip(saved, written, strict=True) if value is None and text]
        shown = (text if value is None else value for value, text in zip(saved, written, strict=True))
        cells = [one_line(str(value)) for value in shown if value is not None and str(value).strip()]
        if cells:
            lines.append(" | ".join(cells))
            letters += len(lines[-1])
            check(letters)
    if lines:
        yield f"## {one_line(values.title)}"
        yield "\n".join(lines)


def read_odf(path: Path, reading: Reading) -> Iterator[Document]:
    """Read an OpenDocument text, presentation or spreadsheet; deletions and comments are left out.

    Raises:
        UnreadableError: The file is not an OpenDocument file, is damaged, or a password protects it.
    """
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
    try:
        stream = stream_of(path)
        check_archive(path, stream, reading.max_mb)
        with ZipFile(stream) as file:
            if b"encryption-data" in file.read("META-INF/manifest.xml"):
                message = f"{path}: a password protects this file; save it without, or leave it out."
                raise UnreadableError("encrypted", message)
            content = etree.fromstring(file.read("content.xml"), parser)
            title = _odf_title(etree.fromstring(file.read("meta.xml"), parser)) if _has_meta(file) else ""
        text = _joined(_odf_blocks(content))
    except (BadZipFile, KeyError, etree.LxmlError, RecursionError, *_DAMAGE) as error:
        raise _broken(path, "an OpenDocument file", error) from error
    yield document_of(path, text, title=title)


def _has_meta(file: ZipFile) -> bool:
    return "meta.xml" in file.namelist()


def _odf_title(meta: Any) -> str:
    found = next((tag for tag in meta.iter() if _name(tag) == "title"), None)
    return one_line(found.text or "") if found is not None else ""


def _name(element: Any) -> str:
    return str(element.tag).rpartition("}")[2] if isinstance(element.tag, str) else ""


def _attribute(element: Any, name: str) -> str:
    return next((str(value) for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def _odf_blocks(parent: Any, *, listed: bool = False) -> Iterator[str]:
    """Yield the headings, paragraphs, list items and tables below an element."""
    for child in parent:
        name = _name(child)
        if name in ("h", "p"):
            boxes: list[Any] = []
            text = "".join(_odf_inline(child, boxes)).strip()
            level = re.fullmatch("[1-6]", _attribute(child, "outline-level"))
            if name == "h" and text:
                yield f"{'#' * (int(level.group()) if level else 1)} {one_line(text)}"
            else:
                yield f"- {text}" if listed and text else text
            for box in boxes:
                yield from _odf_blocks(box)
        elif name == "table":
            yield from _odf_table(child)
        elif name and name not in _NO_TEXT:
            yield from _odf_blocks(child, listed=listed or name == "list-item")


def _odf_inline(element: Any, boxes: list[Any]) -> Iterator[str]:
    """Yield the text of a paragraph, and put text boxes and notes, which stand elsewhere, into ``boxes``."""
    yield element.text or ""
    for child in element:
        name = _name(child)
        if name == "s":
            count = _attribute(child, "c")
            yield " " * min(int(count) if count.isdigit() else 1, _MAX_SPACES)
        elif name in ("tab", "line-break"):
            yield "\t" if name == "tab" else "\n"
        elif name in ("text-box", "note-body", "table"):
            boxes.append(child)
        elif name and name not in _NO_TEXT:
            yield from _odf_inline(child, boxes)
        yield child.tail or ""


def _odf_table(table: Any) -> Iterator[str]:
    """Yield a table, a line for each row, under its name."""
    lines: list[str] = []
    for row in _below(table, "table-row"):
        cells = (one_line(" ".join(_odf_blocks(cell))) for cell in _below(row, "table-cell"))
        if line := " | ".join(cell for cell in cells if cell):
            lines.append(line)
    yield "\n".join(lines)


def _below(element: Any, name: str) -> Iterator[Any]:
    """Yield a table's rows, or a row's cells, also those in groups."""
    for child in element:
        if _name(child) == name:
            yield child
        elif _name(child) not in ("table", "covered-table-cell", "table-row", "table-cell"):
            yield from _below(child, name)
