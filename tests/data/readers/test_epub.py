from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from embexp.data.readers.epub import read_epub
from embexp.data.readers.problems import Problems, UnreadableError
from embexp.data.readers.reading import Reading

CONTAINER = '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>The crane</dc:title></metadata><manifest>
<item id="two" href="text/two%20b.xhtml" media-type="application/xhtml+xml"/>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="one" href="text/one.xhtml" media-type="application/xhtml+xml"/>
<item id="pic" href="a.png" media-type="image/png"/></manifest>
<spine><itemref idref="nav"/><itemref idref="one"/><itemref idref="two"/><itemref idref="pic"/></spine>
</package>"""


def book(path: Path, **parts: str) -> Path:
    contents = {
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": PACKAGE,
        "OEBPS/nav.xhtml": "<html><body>Contents</body></html>",
        "OEBPS/text/one.xhtml": '<?xml version="1.0"?><html><h1>Lifting</h1><p>It lifts.</p></html>',
        "OEBPS/text/two b.xhtml": "<html><body><h1>Turning</h1><p>It turns.</p></body></html>",
    } | parts
    with zipfile.ZipFile(path, "w") as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return path


def test_chapters_are_read_in_order_without_the_table_of_contents(tmp_path: Path) -> None:
    (document,) = read_epub(book(tmp_path / "a.epub"), Reading())
    assert document.title == "The crane"
    assert document.text == "# Lifting\n\nIt lifts.\n\n# Turning\n\nIt turns."


def test_what_a_chapter_hides_and_its_pictures_descriptions_are_counted(tmp_path: Path) -> None:
    page = '<html><body><p>It turns.</p><p hidden>no</p><img src="a.png" alt="A crane"/></body></html>'
    problems = Problems(quiet=True)
    (document,) = read_epub(
        book(tmp_path / "a.epub", **{"OEBPS/text/two b.xhtml": page}), Reading(problems=problems)
    )
    assert document.text == "# Lifting\n\nIt lifts.\n\nIt turns."
    assert "1 EPUB chapter without its hidden text" in problems.summary()
    assert "1 EPUB chapter without the descriptions of its pictures" in problems.summary()


def test_a_locked_book_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match=r"a.epub: this book is locked by its seller"):
        list(read_epub(book(tmp_path / "a.epub", **{"META-INF/rights.xml": "<x/>"}), Reading()))


@pytest.mark.parametrize("part", ["META-INF/container.xml", "OEBPS/book.opf"])
def test_a_damaged_book_is_an_error_that_names_it(tmp_path: Path, part: str) -> None:
    with pytest.raises(UnreadableError, match=r"a.epub: not an EPUB book"):
        list(read_epub(book(tmp_path / "a.epub", **{part: ""}), Reading()))
