from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embexp.data.readers.problems import Problems, UnreadableError
from embexp.data.readers.reading import Reading
from embexp.data.readers.word import read_docx

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
MC = "http://schemas.openxmlformats.org/markup-compatibility/2006"


def run(text: str, *, deleted: bool = False) -> str:
    name = "delText" if deleted else "t"
    return f'<w:r><w:{name} xml:space="preserve">{text}</w:{name}></w:r>'


def paragraph(*runs: str) -> str:
    return f"<w:p>{''.join(runs)}</w:p>"


def ruby(base: str, annotation: str) -> str:
    return f"<w:r><w:ruby><w:rt>{run(annotation)}</w:rt><w:rubyBase>{run(base)}</w:rubyBase></w:ruby></w:r>"


def text_of(tmp_path: Path, *blocks: str, reading: Reading | None = None) -> str:
    """Read a Word file whose body holds the blocks of XML."""
    import docx
    from lxml import etree

    file = docx.Document()
    body = file.element.body
    for place, block in enumerate(blocks):
        root = etree.fromstring(f'<x xmlns:w="{W}" xmlns:mc="{MC}" xmlns:v="urn:v">{block}</x>')
        for offset, child in enumerate(root):
            body.insert(place + offset, child)
    path = tmp_path / "crane.docx"
    file.save(str(path))
    (document,) = read_docx(path, reading or Reading())
    return document.text


INSERTED = f"<w:ins>{run('before every shift')}</w:ins>"
CASES: dict[str, tuple[str, str]] = {
    "inserted text": (paragraph(run("Oil it "), INSERTED, run(".")), "Oil it before every shift."),
    "a wholly inserted paragraph": (paragraph(INSERTED), "before every shift"),
    "deleted text": (paragraph(run("Oil it"), f"<w:del>{run(' rarely', deleted=True)}</w:del>"), "Oil it"),
    "text that was moved away": (paragraph(run("Stay"), f"<w:moveFrom>{run(' gone')}</w:moveFrom>"), "Stay"),
    "a control in a line": (
        paragraph(run("Plate "), f"<w:sdt><w:sdtContent>{run('K-77')}</w:sdtContent></w:sdt>"),
        "Plate K-77",
    ),
    "a control around blocks": (
        f"<w:sdt><w:sdtContent>{paragraph(run('Held'))}</w:sdtContent></w:sdt>",
        "Held",
    ),
    "a link and a field": (
        paragraph(
            f"<w:hyperlink>{run('the plan')}</w:hyperlink>", "<w:r><w:instrText>PAGE</w:instrText></w:r>"
        ),
        "the plan",
    ),
    "a text box": (
        paragraph(
            run("See the sign."),
            f"<w:r><w:pict><v:shape><v:textbox><w:txbxContent>{paragraph(run('Keep out'))}</w:txbxContent>"
            "</v:textbox></v:shape></w:pict></w:r>",
        ),
        "See the sign.\n\nKeep out",
    ),
    "alternatives of one box": (
        paragraph(
            "<w:r><mc:AlternateContent><mc:Choice><w:drawing><w:txbxContent>"
            f"{paragraph(run('Once'))}</w:txbxContent></w:drawing></mc:Choice><mc:Fallback><w:pict>"
            f"<w:txbxContent>{paragraph(run('Once'))}</w:txbxContent></w:pict></mc:Fallback>"
            "</mc:AlternateContent></w:r>"
        ),
        "Once",
    ),
    "breaks and tabs": (
        paragraph(run("a"), "<w:r><w:br/></w:r>", run("b"), "<w:r><w:tab/></w:r>", run("c")),
        "a\nb\tc",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_all_text_in_force_is_read_once(tmp_path: Path, name: str) -> None:
    block, expected = CASES[name]
    assert text_of(tmp_path, block) == expected


def cell(*blocks: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{''.join(blocks)}</w:tc>"


def row(*cells: str) -> str:
    return f"<w:tr>{''.join(cells)}</w:tr>"


def test_merged_cells_are_read_once_and_nested_tables_too(tmp_path: Path) -> None:
    nested = f"<w:tbl>{row(cell(paragraph(run('nested'))))}</w:tbl>"
    table = (
        "<w:tbl>"
        + row(cell(paragraph(run("All week")), properties='<w:gridSpan w:val="3"/>'))
        + row(
            cell(paragraph(run("Mon")), properties='<w:vMerge w:val="restart"/>'),
            cell(paragraph(run("Ada")), nested),
            f"<w:sdt><w:sdtContent>{cell(paragraph(run('Ben')))}</w:sdtContent></w:sdt>",
        )
        + row(
            cell(paragraph(), properties="<w:vMerge/>"),
            cell(paragraph(run("Cem"))),
            cell(paragraph(run("Dan"))),
        )
        + "<w:tr><w:trPr><w:del/></w:trPr>"
        + cell(paragraph(run("struck")))
        + "</w:tr>"
        + "</w:tbl>"
    )
    assert text_of(tmp_path, table) == "All week\nMon | Ada | Ben\nCem | Dan\n\nnested"


def test_headings_of_any_style_name_and_lists(tmp_path: Path) -> None:
    heading = '<w:p><w:pPr><w:pStyle w:val="Heading2"/></w:pPr>' + run("Use") + "</w:p>"
    listed = '<w:p><w:pPr><w:numPr><w:numId w:val="4"/></w:numPr></w:pPr>' + run("one") + "</w:p>"
    assert text_of(tmp_path, paragraph(run("Intro.")), heading, listed) == "Intro.\n\n## Use\n\n- one"


def test_footnotes_follow_the_text(tmp_path: Path) -> None:
    import docx
    from docx.opc.packuri import PackURI
    from docx.opc.part import Part

    file = docx.Document()
    file.add_paragraph("Text.")
    note = paragraph(ruby("note", "small"))
    notes = f'<w:footnotes xmlns:w="{W}"><w:footnote>{note}</w:footnote></w:footnotes>'
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    part = Part(PackURI("/word/footnotes.xml"), kind, notes.encode(), file.part.package)
    file.part.relate_to(part, "http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes")
    file.save(str(tmp_path / "a.docx"))
    problems = Problems(quiet=True)
    (document,) = read_docx(tmp_path / "a.docx", Reading(problems=problems))
    assert document.text == "Text.\n\nnote"
    assert problems.summary() == "1 Word file without its annotations of characters (ruby) (a.docx)"


def test_a_file_with_a_password_is_named(tmp_path: Path) -> None:
    path = tmp_path / "locked.docx"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512))
    with pytest.raises(
        UnreadableError, match=r"locked.docx: a password protects this Word file .* save it anew"
    ):
        list(read_docx(path, Reading()))


@pytest.mark.parametrize("part", ["word/document.xml", "word/styles.xml"])
def test_a_damaged_part_is_an_error_that_names_the_file(tmp_path: Path, part: str) -> None:
    import zipfile

    import docx

    docx.Document().save(str(tmp_path / "whole.docx"))
    with (
        zipfile.ZipFile(tmp_path / "whole.docx") as whole,
        zipfile.ZipFile(tmp_path / "a.docx", "w") as broken,
    ):
        for name in whole.namelist():
            content: Any = b"<w:document" if name == part else whole.read(name)
            broken.writestr(name, content)
    with pytest.raises(UnreadableError, match=r"a.docx: not a Word file"):
        list(read_docx(tmp_path / "a.docx", Reading()))


def test_headers_and_remarks_are_counted(tmp_path: Path) -> None:
    import docx

    file = docx.Document()
    file.add_paragraph("Text.")
    file.sections[0].header.paragraphs[0].text = "Confidential"
    file.save(str(tmp_path / "a.docx"))
    problems = Problems(quiet=True)
    (document,) = read_docx(tmp_path / "a.docx", Reading(problems=problems))
    assert document.text == "Text."
    assert problems.summary() == "1 Word file without its headers, footers and remarks (a.docx)"


def test_ruby_keeps_its_base_text_and_counts_the_annotation(tmp_path: Path) -> None:
    problems = Problems(quiet=True)
    text = text_of(
        tmp_path,
        paragraph(run("The "), ruby("起重机", "small"), run(" lifts.")),
        reading=Reading(problems=problems),
    )
    assert text == "The 起重机 lifts."
    assert problems.summary() == "1 Word file without its annotations of characters (ruby) (crane.docx)"
