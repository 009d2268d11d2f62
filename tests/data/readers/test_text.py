from __future__ import annotations

from pathlib import Path

import pytest

from embexp.data.readers.reading import Reading
from embexp.data.readers.text import first_sentence, is_query, occurs_in, read_plain, stem_of


@pytest.mark.parametrize(
    ("paragraph", "sentence", "rest"),
    [
        ("Remove files. Ask first.", "Remove files.", "Ask first."),
        ("Remove files\nand folders. Ask first.", "Remove files and folders.", "Ask first."),
        ("Remove files, e.g. Those of make. Ask.", "Remove files, e.g. Those of make.", "Ask."),
        ("Remove files", "Remove files", ""),
        ("Use v1.5 of it. `x` too.", "Use v1.5 of it.", "`x` too."),
        ("转3.5圈。再等。", "转3.5圈。", "再等。"),
        ("「止めて。」と言う。", "「止めて。」", "と言う。"),
        ("पंप बंद करें। फिर रुकें।", "पंप बंद करें।", "फिर रुकें।"),
    ],
)
def test_first_sentence(paragraph, sentence, rest):
    assert first_sentence(paragraph) == (sentence, rest)


@pytest.mark.parametrize(
    ("summary", "good"),
    [
        *[
            ("Remove files.", True),
            ("Remove.", False),
            ("1 2 3 4", False),
            ("word " * 41, False),
            ("", False),
        ],
        *[("检查水泵。", True), ("泵", False), ("水" * 81, False), ("117。", False)],
    ],
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


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.txt", "a"),
        ("release.v1.txt", "release.v1"),
        ("a.md.gz", "a"),
        ("a.csv.ZST", "a"),
        ("gr\udcf6.md", "gr\ufffd"),
    ],
)
def test_a_file_gives_its_name_without_format_and_compression(name, stem):
    assert stem_of(Path(name)) == stem


def test_a_text_file_is_read_whole(tmp_path):
    (tmp_path / "a.txt").write_text("# no heading\n\nText.\n", encoding="utf-16")
    (document,) = read_plain(tmp_path / "a.txt", Reading())
    assert (document.title, document.text) == ("a", "# no heading\n\nText.")
