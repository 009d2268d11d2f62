"""Both reports in a browser: no error, no request, no sideways scrolling, and data stay text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embexp.reporting.report import write_report
from embexp.reporting.run_comparison import write_comparison
from tests.browser import open_browser
from tests.reporting.full_report import ATTACK, full_report
from tests.reporting.report_pages import compared_runs

WIDTHS = {"desktop": 1280, "phone": 390}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    return {
        "report": write_report(folder, full_report())[0],
        "compare": write_comparison(folder, compared_runs())[0],
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["report", "compare"])
def test_a_page_makes_no_request_and_fits_the_screen(
    browser: Any, pages: dict[str, Path], name: str, width: str, scheme: str
) -> None:
    size = {"width": WIDTHS[width], "height": 900}
    with browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce") as context:
        page = context.new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        address = pages[name].as_uri()
        page.goto(address)
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert messages == []
        assert requests == [address]
        assert page.evaluate("document.documentElement.scrollWidth") == size["width"]
        assert "hit" not in page.title().split("document.title")[0]
        assert page.locator("script").count() == 1
        assert ATTACK in page.inner_text("body")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(int(part) for part in background[4:-1].split(",")) > 384
        assert light == (scheme == "light")


def test_tables_sort_by_a_click(browser: Any, pages: dict[str, Path]) -> None:
    page = browser.new_page()
    page.goto(pages["report"].as_uri())
    table = page.locator("table", has_text="accuracy@1").first
    heading = table.get_by_role("button", name="ndcg@10")
    heading.click()
    first = table.locator("tbody tr").first.inner_text()
    heading.click()
    assert table.locator("tbody tr").first.inner_text() != first
    values = [float(text) for text in table.locator("tbody td:nth-child(2)").all_inner_texts()]
    assert values == sorted(values)
    page.close()
