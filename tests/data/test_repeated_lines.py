"""Lines that most documents repeat are left out of passages, counted and shown."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from embexp.data.datasets.folder import Folder
from embexp.data.records import Document
from embexp.data.repeated_lines import REPEATED_LINES, without_page_lines, without_repeated_lines

NAMES = [
    "kettle",
    "bicycle",
    "garden",
    "piano",
    "harbour",
    "bakery",
    "lantern",
    "anvil",
    "violin",
    "compass",
    "saddle",
    "furnace",
]


def documents(text: str, count: int = 12, rest: str = "") -> list[Document]:
    """Return documents of which each has a line of its own, then ``text``, or ``rest`` beyond the count."""
    return [
        Document(name, f"All about the {name}.\n\n{text if at < count else rest}")
        for at, name in enumerate(NAMES)
    ]


def cleaned(given: Sequence[Document]) -> list[Document]:
    return list(without_repeated_lines(given, place="kb", option="dataset.repeated_lines=keep"))


REPEATED = {
    "a question": "Was this article helpful?",
    "navigation": "[Home](/) > [Help](/help) > [Contact](/contact)",
    "numbers": "Page 3 of 12",
    "several lines": "© 2024 Acme Ltd.\nAll rights reserved.",
}


@pytest.mark.parametrize("case", REPEATED)
def test_what_most_documents_repeat_is_left_out(case: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = cleaned(documents(REPEATED[case], count=7))
    assert [each.text.strip() for each in found] == [f"All about the {name}." for name in NAMES]
    lines = REPEATED[case].count("\n") + 1
    assert [each.metadata.get(REPEATED_LINES) for each in found] == [str(lines)] * 7 + [None] * 5
    assert f"left out, {7 * lines} in all" in caplog.text
    assert f"“{REPEATED[case].splitlines()[0]}” (7)" in caplog.text
    assert "dataset.repeated_lines=keep keeps them" in caplog.text


STAYING = {
    "half of the documents": ("Was this article helpful?", 6),
    "a heading": ("## Symptoms\n\nIt {name}.", 12),
    "a row of a table": ("| part | price |", 12),
    "code": ("```\nimport kettles\n```", 12),
    "a rule": ("---", 12),
}


@pytest.mark.parametrize("case", STAYING)
def test_what_is_structure_or_rarer_stays(case: str) -> None:
    text, count = STAYING[case]
    given = documents(text.replace("It {name}.", ""), count=count)
    assert [each.text for each in cleaned(given)] == [each.text for each in given]


def test_a_document_of_nothing_else_stays() -> None:
    given = [*documents("Was this article helpful?"), Document("bare", "Was this article helpful?")]
    assert cleaned(given)[-1] == given[-1]


def test_a_few_documents_are_left_alone() -> None:
    given = documents("Was this article helpful?")[:9]
    assert cleaned(given) == given


def test_headers_and_footers_of_pages_are_left_out() -> None:
    pages = [
        f"Acme manual\n\nText on {name}.\nMore on {name}.\n\nPage {at} of 12" for at, name in enumerate(NAMES)
    ]
    texts, removed = without_page_lines(pages)
    assert texts == [f"Text on {name}.\nMore on {name}." for name in NAMES]
    assert removed == 24
    assert without_page_lines(pages[:3]) == (pages[:3], 0)


@pytest.mark.parametrize(("option", "kept"), [("drop", 0), ("keep", 12)])
def test_a_folder_drops_or_keeps_them(tmp_path: Path, option: str, kept: int) -> None:
    for each in documents("Was this article helpful?"):
        (tmp_path / f"{each.id}.md").write_text(each.text)
    found = list(Folder(path=str(tmp_path), repeated_lines=option).documents())  # type: ignore[arg-type]
    assert sum("helpful" in each.text for each in found) == kept
