"""The pages of a run, a comparison and a sweep: nothing is clipped on any medium, all can read them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import open_browser
from tests.reporting.full_report import full_report
from tests.reporting.report_pages import write_pages

PAGES = ("report", "compare", "sweep")
MEDIA = {
    "desktop": (1280, "screen"),
    "phone": (390, "screen"),
    "A4": (688, "print"),
    "Letter": (710, "print"),
}
"""Width in CSS pixels; on paper that between the margins of 14 mm."""
CLIPPED = """() => {
  const clipped = [], page = document.documentElement.clientWidth;
  for (const node of document.querySelectorAll("td, th, caption, pre, dd, dt, p, li, figure, svg, .plot")) {
    if (!node.checkVisibility() || node.closest(".unseen, .plot .plotly, #js-plotly-tester")) continue;
    const box = node.getBoundingClientRect(), edge = node.closest(".scroll")?.getBoundingClientRect();
    const right = Math.min(page, edge ? edge.right : page), left = Math.max(0, edge ? edge.left : 0);
    const inside = node.matches("td, th, pre, li") ? node.scrollWidth - node.clientWidth : 0;
    if (box.right > right + 1 || box.left < left - 1 || inside > 1)
      clipped.push(`${node.tagName} ${node.textContent.trim().slice(0, 60)}: ${box.right} of ${right}`);
  }
  return clipped;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_pages(tmp_path_factory.mktemp("pages"))


@pytest.fixture
def opened(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    """Open a page by its name: ``opened("report", width=390)``; it is closed after the test."""
    contexts = []

    def open_page(name: str, *, width: int = 1280, media: str | None = "screen", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.emulate_media(reduced_motion="reduce", **({"media": media} if media else {}))
        page.goto(pages[name].as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("name", PAGES)
def test_no_cell_is_clipped(opened: Any, name: str, medium: str) -> None:
    width, media = MEDIA[medium]
    page = opened(name, width=width, media=media)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", PAGES)
def test_a_table_too_wide_for_a_phone_names_every_value(opened: Any, name: str) -> None:
    page = opened(name, width=390)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    unnamed = page.evaluate("""() => [...document.querySelectorAll("table:is(.middle, .broad, .vast) td")]
      .filter((cell) => {
        const heads = [...cell.closest("table").tHead.rows[0].cells];
        return cell.dataset.label !== heads[cell.cellIndex].textContent.trim();
      }).map((cell) => cell.outerHTML)""")
    assert unnamed == []


def test_what_scrolls_shows_it_and_can_be_scrolled_by_keyboard(opened: Any) -> None:
    page = opened("report")
    box = page.locator(".scroll").first
    box.evaluate("box => box.querySelector('table').style.width = '300rem'")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth")
    assert box.evaluate("box => getComputedStyle(box).backgroundImage").count("gradient") == 4
    assert all(
        each.get_attribute("tabindex") == "0" and each.get_attribute("aria-label")
        for each in page.locator(".scroll").all()
    )


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize("name", PAGES)
def test_the_audit_finds_nothing_and_every_text_has_contrast(opened: Any, name: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    media = "print" if scheme == "print" else "screen"
    page = opened(name, media=media, color_scheme="dark" if scheme == "print" else scheme)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    violations = axe.Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in violations] == []


@pytest.mark.parametrize("name", PAGES)
def test_figures_and_tables_have_text_alternatives(opened: Any, name: str) -> None:
    page = opened(name)
    silent = page.evaluate("""[...document.querySelectorAll("svg, .track, .plot")].filter((each) =>
      !each.closest(".plot .plotly, #js-plotly-tester")
      && !(/img|figure/.test(each.getAttribute("role")) && each.ariaLabel?.length > 20))
      .map((each) => each.outerHTML.slice(0, 100))""")
    assert silent == []
    assert page.locator("table:not(:has(> caption))").count() == 0


def test_the_map_can_be_read_by_touch_and_as_a_list(opened: Any) -> None:
    page = opened("report", width=390, has_touch=True)
    maps = page.locator("svg.map")
    assert "120 questions and 180 passages" in maps.first.get_attribute("aria-label")
    dot = maps.first.locator("circle.linked").last
    dot.scroll_into_view_if_needed()
    place = dot.bounding_box()
    page.touchscreen.tap(place["x"] + place["width"] / 2 + 3, place["y"] + place["height"] / 2 + 3)
    reading = page.locator(".reading").first.inner_text()
    assert re.match(r"(Question|Passage): \w|<script>", reading)
    assert page.locator("circle.read").count() == 1
    page.get_by_text("The connected questions as a list").click()
    assert page.locator("details:has-text('connected questions') dd").count() == len(full_report().map.links)  # type: ignore[union-attr]


def bare(text: str) -> str:
    """Return text without spaces and ligatures, which a PDF has where fonts and lines want them."""
    return "".join(unicodedata.normalize("NFKC", text).split())


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_print_opens_every_fold_and_keeps_an_example_on_one_page(
    opened: Any, tmp_path: Path, paper: str
) -> None:
    pypdf = pytest.importorskip("pypdf", reason="pypdf is not installed")
    page = opened("report", media=None)  # the medium is then that of the paper
    closed = page.locator("details:not([open])").count()
    assert closed > 5
    page.pdf(path=tmp_path / "report.pdf", format=paper)
    assert page.locator("details:not([open])").count() == closed  # folded again on the screen
    texts = [sheet.extract_text() for sheet in pypdf.PdfReader(tmp_path / "report.pdf").pages]
    sheets = [bare(text) for text in texts]
    text = "".join(sheets)
    assert "abc123" in text  # provenance, the last fold
    assert "map@100" in text
    date = page.locator("header time").inner_text()
    assert all(bare(date) in sheet for sheet in sheets)
    for example in full_report().examples:
        title = bare(f"{example.before:.3f} → {example.after:.3f}; first relevant result")
        (sheet,) = [sheet for sheet in sheets if title in sheet]
        shown = sheet.split(title)[1]
        assert all(bare(result.title) in shown for result in (*example.untuned, *example.tuned))


def test_plots_of_a_sweep_fit_the_paper(opened: Any) -> None:
    page = opened("plots")
    assert page.locator(".plot svg.main-svg").count() >= 4
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function("document.querySelector('.plot svg.main-svg').clientWidth <= 688")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait_for_function("document.querySelector('.plot svg.main-svg').clientWidth > 688")
