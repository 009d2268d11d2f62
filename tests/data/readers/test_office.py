from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from embexp.data.readers.office import read_odf, read_pptx, read_xlsx
from embexp.data.readers.problems import UnreadableError
from embexp.data.readers.reading import Reader, Reading
from embexp.data.records import Document


def only(reader: Reader, path: Path) -> Document:
    (document,) = reader(path, Reading())
    return document


def test_slides_are_read_with_their_tables_groups_and_notes(tmp_path: Path) -> None:
    import pptx
    from pptx.util import Inches

    file = pptx.Presentation()
    slide = file.slides.add_slide(file.slide_layouts[1])
    slide.shapes.title.text = "Crane"
    slide.placeholders[1].text = "It lifts.\nIt turns."
    slide.notes_slide.notes_text_frame.text = "Tell the story."
    second = file.slides.add_slide(file.slide_layouts[6])
    box = Inches(1), Inches(1), Inches(2), Inches(1)
    table = second.shapes.add_table(2, 2, *box).table
    for place, text in {(0, 0): "Stock", (1, 0): "Belt", (1, 1): "12"}.items():
        table.cell(*place).text = text
    table.cell(0, 0).merge(table.cell(0, 1))
    group = second.shapes.add_group_shape()
    group.shapes.add_textbox(*box).text_frame.text = "Inside a group"
    file.slides.add_slide(file.slide_layouts[6])
    file.save(str(tmp_path / "a.pptx"))
    document = only(read_pptx, tmp_path / "a.pptx")
    assert document.title == "Crane"
    assert document.text == (
        "It lifts.\nIt turns.\n\nTell the story.\n\n## Slide 2\n\nStock\nBelt | 12\n\nInside a group"
    )


def test_sheets_are_read_row_by_row_with_merged_cells_once(tmp_path: Path) -> None:
    import datetime

    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Stock"
    sheet.append(["Part", None, "Shelf"])
    sheet.append([])
    sheet.append(["Belt", datetime.date(2024, 5, 1), 12.5])
    sheet["A4"] = "All shelves"
    sheet.merge_cells("A4:C4")
    book.create_sheet("Empty")
    book.create_sheet("Notes").append(["Line one\nline two"])
    book.save(tmp_path / "a.xlsx")
    text = only(read_xlsx, tmp_path / "a.xlsx").text
    assert "Part | Shelf\nBelt | 2024-05-01 00:00:00 | 12.5\nAll shelves" in text
    assert "## Notes\n\nLine one line two" in text
    assert "Empty" not in text


NAMES = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "draw")
)
BODY = """
<text:tracked-changes><text:changed-region><text:p>struck</text:p></text:changed-region></text:tracked-changes>
<text:h text:outline-level="1">Crane</text:h>
<text:p>It<text:s text:c="2"/>lifts<text:note><text:note-citation>1</text:note-citation><text:note-body>
<text:p>Up to nine tons.</text:p></text:note-body></text:note>.<text:line-break/>It turns.</text:p>
<text:p>See <text:span>the <text:a>plan</text:a></text:span>.<office:annotation><text:p>remark</text:p>
</office:annotation></text:p>
<text:h text:outline-level="2">Use</text:h>
<text:list><text:list-item><text:p>Oil it.</text:p><text:list><text:list-item><text:p>Wait.</text:p>
</text:list-item></text:list></text:list-item></text:list>
<table:table><table:table-header-rows><table:table-row>
<table:table-cell table:number-columns-spanned="2"><text:p>Stock</text:p></table:table-cell>
<table:covered-table-cell/>
</table:table-row></table:table-header-rows><table:table-row>
<table:table-cell><text:p>Belt</text:p></table:table-cell><table:table-cell><text:p>12</text:p></table:table-cell>
</table:table-row></table:table>
<text:p><draw:frame><draw:text-box><text:p>In a box</text:p></draw:text-box></draw:frame></text:p>
"""


def odf(path: Path, content: str, manifest: str = "<manifest/>") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("META-INF/manifest.xml", manifest)
        file.writestr("content.xml", content)
        file.writestr(
            "meta.xml", "<m xmlns:dc='http://purl.org/dc/elements/1.1/'><dc:title>Guide</dc:title></m>"
        )
    return path


@pytest.mark.parametrize("name", ["a.odt", "a.odp", "a.ods"])
def test_open_document_text_is_read_in_order(tmp_path: Path, name: str) -> None:
    content = f"<office:document-content {NAMES}><office:body>{BODY}</office:body></office:document-content>"
    document = only(read_odf, odf(tmp_path / name, content))
    assert document.title == "Guide"
    assert document.text == (
        "# Crane\n\nIt  lifts.\nIt turns.\n\nUp to nine tons.\n\nSee the plan.\n\n"
        "## Use\n\n- Oil it.\n\n- Wait.\n\nStock\nBelt | 12\n\nIn a box"
    )


def test_an_encrypted_open_document_is_named(tmp_path: Path) -> None:
    path = odf(tmp_path / "a.odt", "", "<manifest><encryption-data/></manifest>")
    with pytest.raises(UnreadableError, match=r"a.odt: a password protects this file"):
        only(read_odf, path)


@pytest.mark.parametrize(
    ("reader", "name"), [(read_pptx, "a.pptx"), (read_xlsx, "a.xlsx"), (read_odf, "a.odt")]
)
@pytest.mark.parametrize("content", [b"", b"junk", b"PK\3\4", b"PK\5\6" + bytes(18)])
def test_a_damaged_file_is_an_error_that_names_it(
    tmp_path: Path, reader: Reader, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError, match=rf"{name}: cannot be read as an? .* save it again"):
        only(reader, tmp_path / name)


@pytest.mark.parametrize(("reader", "name"), [(read_pptx, "a.pptx"), (read_xlsx, "a.xlsx")])
def test_a_file_with_a_password_is_named(tmp_path: Path, reader: Reader, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512))
    with pytest.raises(UnreadableError, match=rf"{name}: a password protects this"):
        only(reader, tmp_path / name)


def test_a_formula_without_a_saved_value_is_read_as_written_and_counted(tmp_path: Path) -> None:
    import openpyxl

    from embexp.data.readers.problems import Problems

    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Belts", 2, "=B1*6"])
    book.save(tmp_path / "a.xlsx")
    problems = Problems(quiet=True)
    (document,) = read_xlsx(tmp_path / "a.xlsx", Reading(problems=problems))
    assert document.text.endswith("Belts | 2 | =B1*6")
    assert problems.summary() == "1 workbook with formulas without a saved value (a.xlsx: =B1*6)"


def test_charts_are_counted(tmp_path: Path) -> None:
    import pptx
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    from embexp.data.readers.problems import Problems

    file = pptx.Presentation()
    slide = file.slides.add_slide(file.slide_layouts[5])
    slide.shapes.title.text = "Crane"
    data = CategoryChartData()
    data.categories = ["May"]
    data.add_series("Loads", (3,))
    slide.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, *[Inches(2)] * 4, data)
    file.save(str(tmp_path / "a.pptx"))
    problems = Problems(quiet=True)
    (document,) = read_pptx(tmp_path / "a.pptx", Reading(problems=problems))
    assert document.title == "Crane"
    assert problems.summary() == "1 presentation without its charts and diagrams (a.pptx: 1)"
