from __future__ import annotations

import pytest

from embexp.data.readers.text import first_sentence, is_query, occurs_in


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
def test_is_query(summary, good):
    assert is_query(summary) is good


@pytest.mark.parametrize(
    ("sentence", "text", "inside"),
    [
        ("Remove files.", "Please REMOVE\n  files now", True),
        ("Remove files.", "Remove the files", False),
        ("", "anything", False),
        (" .", "anything.", False),
    ],
)
def test_occurs_in(sentence, text, inside):
    assert occurs_in(sentence, text) is inside
