"""Files that are made to exhaust a reader cost themselves alone: counted and named; the others are read."""

from __future__ import annotations

import gzip
import json
import logging
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from embexp.data.datasets.folder import READERS, Folder
from embexp.data.readers import encoding
from embexp.data.readers.problems import Problems
from embexp.data.readers.sizes import nested_too_deep
from embexp.data.readers.tables import read_rows
from embexp.errors import DataError

DEEP = 50_000
MB = 1_000_000


def read(folder: Path, **settings: object) -> dict[str, str]:
    """Read a folder to which a good file was added, and return the texts by id."""
    (folder / "good.txt").write_text("A good file beside it.")
    return {document.id: document.text for document in Folder(path=str(folder), **settings).documents()}  # type: ignore[arg-type]


def zipped(path: Path, parts: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def word_file(path: Path, body: str) -> Path:
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    package = "application/vnd.openxmlformats-package.relationships+xml"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    w = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    return zipped(
        path,
        {
            "[Content_Types].xml": f'<Types xmlns="{types}">'
            f'<Default Extension="rels" ContentType="{package}"/>'
            f'<Override PartName="/d.xml" ContentType="{kind}"/></Types>',
            "_rels/.rels": f'<Relationships xmlns="{relations}"><Relationship Id="r" Type="{office}" '
            'Target="d.xml"/></Relationships>',
            "d.xml": f'<w:document xmlns:w="{w}"><w:body>{body}</w:body></w:document>',
        },
    )


def open_document(path: Path, body: str) -> Path:
    office, text = (f"urn:oasis:names:tc:opendocument:xmlns:{name}:1.0" for name in ("office", "text"))
    content = f'<o:d xmlns:o="{office}" xmlns:t="{text}"><o:body><o:text>{body}</o:text></o:body></o:d>'
    return zipped(path, {"META-INF/manifest.xml": "<m/>", "content.xml": content})


def book(path: Path, page: str) -> Path:
    item = '<item id="a" href="a.xhtml" media-type="application/xhtml+xml"/>'
    spine = '<itemref idref="a"/>' * 1_000
    return zipped(
        path,
        {
            "META-INF/container.xml": '<c><rootfile full-path="c.opf"/></c>',
            "c.opf": f"<p><manifest>{item}</manifest><spine>{spine}</spine></p>",
            "a.xhtml": page,
        },
    )


def slides(path: Path, text: str) -> Path:
    import pptx

    file = pptx.Presentation()
    slide = file.slides.add_slide(file.slide_layouts[5])
    slide.shapes.add_textbox(0, 0, 100, 100).text_frame.text = text
    file.save(str(path))
    return path


def workbook(path: Path, text: str) -> Path:
    """A workbook with cells of at most 20,000 letters."""
    import openpyxl

    file = openpyxl.Workbook()
    for start in range(0, len(text), 20_000):
        file.active.append([text[start : start + 20_000]])
    file.save(path)
    return path


def changed(path: Path, changes: Mapping[str, Callable[[str], str]]) -> None:
    """Change parts of a container; one that is not there is empty."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    for name, change in changes.items():
        before = parts.get(name, "")
        parts[name] = change(before)
        assert parts[name] != before
    zipped(path, parts)


BOMBS: dict[str, Callable[[Path, str], Path]] = {
    "a.docx": lambda path, text: word_file(path, f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"),
    "a.odt": lambda path, text: open_document(path, f"<t:p>{text}</t:p>"),
    "a.epub": lambda path, text: book(path, f"<p>{text}</p>"),
    "a.pptx": slides,
    "a.xlsx": workbook,
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_unpacks_to_too_much_is_left_packed_and_named(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bomb = BOMBS[name](tmp_path / name, "bomb " * (MB // 2))
    assert bomb.stat().st_size < 100_000
    assert read(tmp_path, max_file_mb=1).keys() == {"good.txt"}
    assert f"{name}: it unpacks to more than 1 MB; leave it out, divide it, or raise" in caplog.text
    assert "skipped: 1 too large" in caplog.text
    assert "bomb bomb" in read(tmp_path, max_file_mb=8)[name]


@pytest.mark.parametrize("name", BOMBS)
def test_a_part_that_is_larger_than_it_says_is_not_unpacked(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The list of parts claims that each has ten bytes."""
    path = BOMBS[name](tmp_path / name, "bomb " * MB)
    raw = bytearray(path.read_bytes())
    at = raw.find(b"PK\x01\x02")
    while at >= 0:
        raw[at + 24 : at + 28] = struct.pack("<I", 10)
        at = raw.find(b"PK\x01\x02", at + 4)
    path.write_bytes(raw)
    assert read(tmp_path, max_file_mb=1).keys() == {"good.txt"}
    assert "is larger than it says" in caplog.text


def test_a_text_that_many_cells_of_a_workbook_repeat_is_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = workbook(tmp_path / "a.xlsx", "One cell.")
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c></row>' for n in range(1, 101))
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    named = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'
    changed(
        path,
        {
            "xl/worksheets/sheet1.xml": lambda sheet: re.sub(
                "<sheetData>.*</sheetData>", f"<sheetData>{rows}</sheetData>", sheet
            ),
            "xl/sharedStrings.xml": lambda _: f'<sst xmlns="{space}"><si><t>{"cell " * 6_000}</t></si></sst>',
            "[Content_Types].xml": lambda types: types.replace("</Types>", named),
        },
    )
    assert read(tmp_path, max_file_mb=1).keys() == {"good.txt"}
    assert "its text has more than 1 MB" in caplog.text
    assert read(tmp_path)["a.xlsx"].count("cell ") > 500_000


def test_a_workbook_that_claims_a_million_empty_rows_is_read_at_once(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", "One cell.")
    claim = {"xl/worksheets/sheet1.xml": lambda sheet: sheet.replace('ref="A1"', 'ref="A1:XFD1048576"')}
    changed(path, claim)
    assert "One cell." in read(tmp_path)["a.xlsx"]


def test_a_chapter_that_a_book_names_a_thousand_times_is_read_once(tmp_path: Path) -> None:
    book(tmp_path / "a.epub", "<p>One chapter.</p>")
    assert read(tmp_path)["a.epub"].count("One chapter.") == 1


NESTED = {
    "a.docx": lambda path: word_file(path, "<w:r>" * DEEP + "</w:r>" * DEEP),
    "a.odt": lambda path: open_document(path, f"{'<t:span>' * DEEP}x{'</t:span>' * DEEP}"),
    "a.epub": lambda path: zipped(path, {"META-INF/container.xml": "<a>" * DEEP + "</a>" * DEEP}),
    "a.ipynb": lambda path: path.write_text('{"nbformat":4,"metadata":' + '{"a":' * DEEP + "1" + "}" * DEEP),
    "a.json": lambda path: path.write_text("[" * DEEP + "]" * DEEP),
    "a.md": lambda path: path.write_text(f"+++\ntitle = {'[' * DEEP}{']' * DEEP}\n+++\n"),
    "a.rst": lambda path: path.write_text("".join(f"{'   ' * n}* item\n\n" for n in range(300))),
    "a.eml": lambda path: path.write_text(
        "Content-Type: message/rfc822\n\n" * 3_000 + "Subject: x\n\ntext\n"
    ),
}


@pytest.mark.parametrize("name", NESTED)
def test_nesting_of_any_depth_costs_the_file_alone(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    NESTED[name](tmp_path / name)
    assert read(tmp_path).keys() == {"good.txt"}
    assert f"Skipped: {tmp_path / name}" in caplog.text


@pytest.mark.parametrize("depth", [101, 490, DEEP])
def test_a_row_that_is_nested_too_deep_costs_itself_alone(
    tmp_path: Path, depth: int, caplog: pytest.LogCaptureFixture
) -> None:
    deep = '{"text": ' + "[" * depth + '"x"' + "]" * depth + "}\n"
    (tmp_path / "a.jsonl").write_text(deep + '{"text": "A good row."}\n')
    assert sorted(read(tmp_path).values()) == ["A good file beside it.", "A good row."]
    assert f"{tmp_path / 'a.jsonl'}:1: " in caplog.text


def test_rows_may_be_nested_as_data_is() -> None:
    value: object = "x"
    for _ in range(100):
        value = [value]
    assert not nested_too_deep(value)
    assert nested_too_deep({"a": value})


def test_aliases_in_front_matter_do_not_grow_without_end(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    (tmp_path / "a.md").write_text("---\n" + "\n".join([*lines, "title: *a11"]) + "\n---\nIts text.\n")
    assert read(tmp_path)["a.md"] == "Its text."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{{"id": "long", "text": "{long}"}}\n{{"id": "short", "text": "A short row."}}\n'),
        ("a.csv", "id,text\nlong,{long}\nshort,A short row.\n"),
        ("a.tsv", "id\ttext\r\nlong\t{long}\r\nshort\tA short row.\r\n"),
    ],
)
def test_a_line_that_is_too_long_is_passed_over_and_the_next_one_read(
    tmp_path: Path,
    name: str,
    content: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(encoding, "_LONGEST_LINE", 1_000)
    path = tmp_path / name
    path.write_text(content.format(long="word " * 700), newline="")
    rows = list(read_rows(path, Problems()))
    assert [(row.text("id"), row.text("text")) for row in rows] == [("short", "A short row.")]
    number = content.split("long")[0].count("\n") + 1
    assert f"{path}:{number}: this line has more than 1,000 characters" in caplog.text
    assert rows[0].where == f"{path}:{number + 1}"


def test_a_json_file_may_be_one_long_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_LONGEST_LINE", 1_000)
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": "word " * 700}, {"text": "A short row."}]))
    assert len(list(read_rows(path, Problems()))) == 2


@pytest.mark.parametrize("name", ["a.txt", "a.md.gz", "a.html", "a.rst"])
def test_a_text_that_is_too_large_is_not_read(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = b"word " * (MB // 4)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert read(tmp_path, max_file_mb=1).keys() == {"good.txt"}
    assert f"{name}: it has more than 1 MB" in caplog.text


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("too deep"), KeyError("x"), AssertionError()]
)
def test_whatever_a_parser_raises_costs_the_file_alone(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_arguments: object) -> object:
        raise error

    monkeypatch.setitem(READERS, ".adoc", failing)
    (tmp_path / "a.adoc").write_text("text")
    assert read(tmp_path).keys() == {"good.txt"}
    assert f"{tmp_path / 'a.adoc'} cannot be read ({type(error).__name__}" in caplog.text
    with pytest.raises(DataError, match=r"a\.adoc cannot be read .* Or set dataset\.on_error=skip"):
        read(tmp_path, on_error="fail")
