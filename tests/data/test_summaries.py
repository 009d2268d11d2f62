from __future__ import annotations

import pytest

from embexp.data.summaries import first_sentence, stands_in, usable


@pytest.mark.parametrize(
    ("paragraph", "sentence", "rest"),
    [
        ("Remove files. Ask first.", "Remove files.", "Ask first."),
        ("Remove files\nand folders. Ask first.", "Remove files and folders.", "Ask first."),
        ("Remove files, e.g. Those of make. Ask.", "Remove files, e.g. Those of make.", "Ask."),
        ("Remove files", "Remove files", ""),
        ("Use v1.5 of it. `x` too.", "Use v1.5 of it.", "`x` too."),
    ],
)
def test_first_sentence(paragraph, sentence, rest):
    assert first_sentence(paragraph) == (sentence, rest)


@pytest.mark.parametrize(
    ("summary", "good"),
    [("Remove files.", True), ("Remove.", False), ("1 2 3 4", False), ("word " * 41, False), ("", False)],
)
def test_usable(summary, good):
    assert usable(summary) is good


@pytest.mark.parametrize(
    ("sentence", "text", "inside"),
    [
        ("Remove files.", "Please REMOVE\n  files now", True),
        ("Remove files.", "Remove the files", False),
        ("", "anything", False),
        (" .", "anything.", False),
    ],
)
def test_stands_in(sentence, text, inside):
    assert stands_in(sentence, text) is inside
