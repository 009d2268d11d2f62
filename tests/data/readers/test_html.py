from __future__ import annotations

from pathlib import Path

import pytest

from embexp.data.links import links_of
from embexp.data.readers.html import read_html
from embexp.data.readers.problems import Problems
from embexp.data.readers.reading import Reading


def read(tmp_path: Path, source: str | bytes, **settings: bool) -> tuple[str, Problems]:
    path = tmp_path / "page.html"
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    problems = Problems(quiet=True)
    documents = list(read_html(path, Reading(problems=problems, **settings)))
    return "\n".join(document.text for document in documents), problems


@pytest.mark.parametrize(
    "tag",
    [
        "<p hidden>SECRET</p>",
        '<p style="color: red; DISPLAY : none">SECRET</p>',
        '<p style="visibility:hidden">SECRET</p>',
        "<template>SECRET</template>",
        "<dialog>SECRET</dialog>",
        "<script>SECRET</script>",
        "<style>SECRET</style>",
        "<!-- SECRET -->",
        "<p>Seen<span hidden> SECRET</span></p>",
        "<h2>Use<span hidden>SECRET</span></h2>",
        "<pre>code<i hidden>SECRET</i></pre>",
    ],
)
def test_hidden_text_is_left_out(tmp_path: Path, tag: str) -> None:
    text, _ = read(tmp_path, f"<p>Before.</p>{tag}<p>After.</p>")
    assert "SECRET" not in text
    assert text.startswith("Before.")
    assert text.endswith("After.")


def test_what_follows_hidden_text_is_kept(tmp_path: Path) -> None:
    assert read(tmp_path, "<p>One <b hidden>no</b> two</p>")[0] == "One two"


def test_links_are_kept_beside_the_text(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        '<nav><a href="index.html">Start</a></nav><p>See <a href="sub/b.html#x">how to <b>bleed</b> it</a>, '
        '<a href="https://example.org">the web</a>, <a name="here">here</a>, <a href="#here">up</a>.</p>'
    )
    (document,) = read_html(path, Reading())
    assert [*links_of(document)] == [("Start", "index.html"), ("how to bleed it", "sub/b.html#x")]


def test_rows_of_a_table_are_lines_without_gaps(tmp_path: Path) -> None:
    rows = "<tr> <th>Part</th> <th>Price</th> </tr>\n<tr><td>A seal.</td><td>2 EUR</td></tr>"
    text, _ = read(
        tmp_path, f"<p>So:</p><table><caption>All</caption>{rows}</table><dl><dt>A</dt><dd>B</dd></dl><p>End."
    )
    assert text == "So:\n\nAll\n\nPart | Price\nA seal. | 2 EUR\n\nA\nB\n\nEnd."


MAIN = "<p>The furnace rests on Sundays, and Ada checks its seals.</p>"
AROUND = (
    "<header><a>Home</a></header><nav>Menu</nav>{}<aside>Read also</aside><footer>Imprint</footer>"
    '<div class="cookie-banner">We use cookies</div>'
)


@pytest.mark.parametrize(
    "main", [f"<main>{MAIN}</main>", f'<div role="main">{MAIN}</div>', f"<article>{MAIN}</article>"]
)
def test_the_declared_main_part_is_read_and_the_rest_counted(tmp_path: Path, main: str) -> None:
    text, problems = read(tmp_path, AROUND.format(main))
    assert text == "The furnace rests on Sundays, and Ada checks its seals."
    assert problems.summary().startswith(
        "1 web page without its navigation, hidden text and other boilerplate (page.html:"
    )


def test_articles_within_main_are_read_once(tmp_path: Path) -> None:
    text, _ = read(tmp_path, "<main><article><p>One.</p></article><article><p>Two.</p></article></main>")
    assert text == "One.\n\nTwo."


def test_all_visible_text_is_read_where_that_is_asked_for(tmp_path: Path) -> None:
    text, problems = read(tmp_path, AROUND.format(f"<main>{MAIN}</main>"), main_content=False)
    assert all(part in text for part in ("Home", "Menu", "The furnace", "Read also", "Imprint", "cookies"))
    assert problems.summary() == ""


def test_a_main_part_that_is_not_declared_is_found(tmp_path: Path) -> None:
    links = "".join(f'<li><a href="/{n}">Topic number {n}</a></li>' for n in range(15))
    prose = "".join(
        f"<p>Paragraph {n} tells how the furnace is started, how Ada checks its seals, and why the hall has "
        f"to be aired for {n} minutes before the crane may move again.</p>"
        for n in range(12)
    )
    page = f'<div class="sidebar"><ul>{links}</ul></div><div id="content"><h1>Furnace</h1>{prose}</div>'
    text, problems = read(tmp_path, f"<html><body>{page}</body></html>")
    assert text.count("tells how the furnace is started") == 12
    assert "Topic number" not in text
    assert "page.html" in problems.summary()


def test_a_page_without_a_part_that_stands_out_is_read_whole(tmp_path: Path) -> None:
    text, problems = read(tmp_path, "<div>One.</div><table><tr><td>A<td>B</table><ul><li>Two.</ul>")
    assert text == "One.\n\nA | B\n\n- Two."
    assert problems.summary() == ""


@pytest.mark.parametrize("depth", [600, 1_500, 3_000, 50_000])
@pytest.mark.parametrize("tag", ["div", "font", "b", "li", "table", "blockquote", "span"])
def test_deep_nesting_loses_nothing(tmp_path: Path, depth: int, tag: str) -> None:
    source = f"<h1>Deep</h1><p>START{f'<{tag}>' * depth}MIDDLE{f'</{tag}>' * depth}<p>END"
    text, _ = read(tmp_path, source)
    assert [part for part in ("START", "MIDDLE", "END") if part in text] == ["START", "MIDDLE", "END"]


def test_tags_that_are_never_closed_lose_nothing(tmp_path: Path) -> None:
    text, _ = read(tmp_path, "".join(f"<font>word{n} " for n in range(5_000)))
    assert "word0 " in text
    assert "word4999" in text


def test_code_that_holds_a_fence_stays_one_block(tmp_path: Path) -> None:
    text, _ = read(tmp_path, "<pre>```\n# no heading\n```</pre><p>After.</p>")
    assert text == "````\n```\n# no heading\n```\n````\n\nAfter."


@pytest.mark.parametrize("source", ["", " ", "<!-- only a remark -->", "<html></html>"])
def test_a_page_without_text_is_empty(tmp_path: Path, source: str) -> None:
    assert read(tmp_path, source)[0] == ""


@pytest.mark.parametrize(
    ("declared", "encoding", "expected"),
    [
        ("iso-8859-1", "latin-1", "Größe"),
        ("utf-8", "cp1252", "Größe der Tür für alle Räume"),
        ("iso-8859-1", "utf-8", "Größe"),
        ("utf-8", "utf-16", "Größe"),
    ],
)
def test_a_charset_that_the_bytes_contradict_is_settled(
    tmp_path: Path, declared: str, encoding: str, expected: str
) -> None:
    page = f'<meta charset="{declared}"><p>{expected}'
    assert read(tmp_path, page.encode(encoding))[0] == expected


def test_xhtml_may_declare_its_encoding_in_xml(tmp_path: Path) -> None:
    page = '<?xml version="1.0" encoding="iso-8859-1"?><html><body><p>Größe</p></body></html>'
    assert read(tmp_path, page.encode("latin-1"))[0] == "Größe"


@pytest.mark.parametrize(
    "name", ["cookie-banner", "cookieConsent", "gdpr_notice", "js-cookie-bar", "cc-window x"]
)
@pytest.mark.parametrize("attribute", ["class", "id"])
def test_cookie_banners_are_left_out(tmp_path: Path, attribute: str, name: str) -> None:
    text, _ = read(tmp_path, f'<p>The crane.</p><div {attribute}="{name}">We use them.</div>')
    assert text == "The crane."


def test_a_section_about_cookies_is_no_banner(tmp_path: Path) -> None:
    text, _ = read(tmp_path, '<section id="cookies"><h2>Cookies</h2><p>Set them so.</p></section>')
    assert "Set them so." in text


def test_the_title_is_the_heading_of_the_main_part_without_its_buttons(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<h1>Site</h1><main><h1>Crane <button>Copy</button></h1><p>It lifts.</p></main>")
    (document,) = read_html(path, Reading())
    assert (document.title, document.text) == ("Crane", "It lifts.")


@pytest.mark.parametrize(
    ("alt", "counted"),
    [("The red lever", "1 web page without the descriptions of its pictures (page.html)"), (" ", "")],
)
def test_descriptions_of_pictures_are_counted(tmp_path: Path, alt: str, counted: str) -> None:
    text, problems = read(tmp_path, f'<p>Lift.</p><img src="a.png" alt="{alt}">')
    assert text == "Lift."
    assert problems.summary() == counted
