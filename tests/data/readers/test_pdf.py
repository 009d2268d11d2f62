from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from reportlab.pdfgen.canvas import Canvas

from embexp.data.readers.pdf import read_pdf
from embexp.data.readers.problems import Problems, UnreadableError
from embexp.data.readers.reading import Reading


def pdf(path: Path, *pages: Callable[[Canvas], None]) -> Path:
    canvas = Canvas(str(path))
    for page in pages:
        canvas.setFont("Helvetica", 10)
        page(canvas)
        canvas.showPage()
    canvas.save()
    return path


def locked(path: Path, password: str, algorithm: str = "AES-256") -> Path:
    from pypdf import PdfWriter

    writer = PdfWriter(clone_from=str(pdf(path, prose)))
    writer.encrypt(password, owner_password="owner", algorithm=algorithm)
    writer.write(str(path))
    return path


def prose(canvas: Canvas) -> None:
    canvas.drawString(60, 700, "The furnace rests on Sundays.")


def blank(canvas: Canvas) -> None:
    pass


def scan(canvas: Canvas) -> None:
    from PIL import Image
    from reportlab.lib.utils import ImageReader

    canvas.drawImage(ImageReader(Image.new("L", (40, 40), 128)), 60, 100, 400, 600)


def columns(canvas: Canvas) -> None:
    """Write line by line across both columns, as some programs do."""
    canvas.drawString(
        60, 760, "A title that goes across the whole width of the page, above both of its columns"
    )
    for line in range(20):
        canvas.drawString(60, 720 - 13 * line, f"left {line} speaks of the furnace at some length")
        canvas.drawString(320, 720 - 13 * line, f"right {line} speaks of the crane at some length")


def table(canvas: Canvas) -> None:
    for line, (part, shelf) in enumerate([("Part", "Shelf"), ("Belt", "12"), ("Fuse", "90")]):
        canvas.drawString(60, 700 - 14 * line, part)
        canvas.drawString(300, 700 - 14 * line, shelf)


def text_of(path: Path, reading: Reading | None = None) -> str:
    (document,) = read_pdf(path, reading or Reading())
    return document.text


def test_columns_are_read_one_after_the_other(tmp_path: Path) -> None:
    text = text_of(pdf(tmp_path / "a.pdf", columns))
    places = [text.index(part) for part in ("A title", "left 0 ", "left 19 ", "right 0 ", "right 19 ")]
    assert places == sorted(places)


def test_a_table_is_read_row_by_row(tmp_path: Path) -> None:
    assert text_of(pdf(tmp_path / "a.pdf", table)) == "Part | Shelf\nBelt | 12\nFuse | 90"


def test_words_divided_at_the_end_of_a_line_are_joined(tmp_path: Path) -> None:
    def divided(canvas: Canvas) -> None:
        canvas.drawString(60, 700, "The tempera-")
        canvas.drawString(60, 688, "ture rises.")

    assert text_of(pdf(tmp_path / "a.pdf", divided)) == "The temperature rises."


@pytest.mark.parametrize(
    ("page", "why"), [(scan, "only pictures of pages: it is a scan"), (blank, "no text on any")]
)
def test_a_pdf_without_text_is_named_with_the_reason(
    tmp_path: Path, page: Callable[[Canvas], None], why: str
) -> None:
    with pytest.raises(UnreadableError, match=rf"a.pdf: this PDF holds {why}.*OCR") as raised:
        text_of(pdf(tmp_path / "a.pdf", page, page))
    assert raised.value.reason == "PDF without text"


def test_scanned_pages_among_others_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    problems = Problems()
    text = text_of(pdf(tmp_path / "a.pdf", prose, scan, blank, scan), Reading(problems=problems))
    assert text == "The furnace rests on Sundays."
    assert "a.pdf: 2 of 4 pages hold pictures and no text (2, 4); the others are read" in caplog.text
    assert problems.summary() == "1 PDF with scanned pages"


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_a_password_opens_an_encrypted_pdf(tmp_path: Path, algorithm: str) -> None:
    path = locked(tmp_path / "a.pdf", "opensesame", algorithm)
    assert text_of(path, Reading(password="opensesame")) == "The furnace rests on Sundays."


@pytest.mark.parametrize(
    ("password", "message"),
    [
        (None, r"a.pdf: a password protects this PDF; give it with dataset.password=…"),
        ("wrong", r"a.pdf: a password protects this PDF, and dataset.password does not open it; give it"),
    ],
)
def test_an_encrypted_pdf_asks_for_the_password(tmp_path: Path, password: str | None, message: str) -> None:
    with pytest.raises(UnreadableError, match=message) as raised:
        text_of(locked(tmp_path / "a.pdf", "opensesame"), Reading(password=password))
    assert raised.value.reason == "encrypted"


def test_a_password_does_no_harm_to_open_pdfs(tmp_path: Path) -> None:
    assert text_of(pdf(tmp_path / "a.pdf", prose), Reading(password="x")) == "The furnace rests on Sundays."


def test_the_password_is_not_shown() -> None:
    assert "opensesame" not in repr(Reading(password="opensesame"))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_half_a_pdf_is_an_error_that_names_it(tmp_path: Path, share: float) -> None:
    whole = pdf(tmp_path / "whole.pdf", prose).read_bytes()
    (tmp_path / "a.pdf").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableError, match=r"a.pdf: (not a PDF that can be read|this PDF holds no text)"):
        text_of(tmp_path / "a.pdf")
