"""Which document a link leads to."""

from __future__ import annotations

import pytest

from embexp.data.links import Targets, leads_away, links_metadata, links_of
from embexp.data.records import Document

TARGETS = Targets(
    [
        "README.md",
        "guide/index.md",
        "guide/pump.md",
        "guide/valve.html",
        "old/pump.md",
        "old/pump.html",
        "a b.md",
        "notes/Release 1.2.md",
    ]
)


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("pump.md", "guide/pump.md"),
        ("./pump", "guide/pump.md"),
        ("pump/", "guide/pump.md"),
        ("pump.html?x=1", "guide/pump.md"),
        ("../old/pump.html", "old/pump.html"),
        ("/guide/valve.html", "guide/valve.html"),
        ("../guide/", "guide/index.md"),
        ("../README", "README.md"),
        ("../a%20b.md", "a b.md"),
        ("../old/pump", None),
        ("../../pump.md", None),
        ("missing.md", None),
        ("Release 1.2", "notes/Release 1.2.md"),
        ("/notes/Release 1.2", "notes/Release 1.2.md"),
        ("old/Release 1.2", None),
    ],
)
def test_an_address_leads_to_a_document(address: str, target: str | None) -> None:
    assert TARGETS.find(address, source="guide/valve.html") == target


@pytest.mark.parametrize(
    ("address", "away"),
    [
        ("https://example.org/a.md", True),
        ("//example.org/a.md", True),
        ("mailto:a@example.org", True),
        ("#here", True),
        ("", True),
        ("a.md#here", False),
        ("/a.md", False),
        ("12:30.md/..", False),
    ],
)
def test_links_out_of_the_folder_are_known(address: str, away: bool) -> None:
    assert leads_away(address) is away


def test_a_document_keeps_its_links_once() -> None:
    metadata = links_metadata(
        [("Pump", "pump.md"), ("Pump", "pump.md"), ("", "x.md"), ("Web", "http://x.org")]
    )
    assert [*links_of(Document("a.md", "", metadata=metadata))] == [("Pump", "pump.md")]
    assert links_metadata([("Web", "http://x.org")]) == {}
    assert [*links_of(Document("a.md", ""))] == []
