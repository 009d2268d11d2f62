"""Whatever bytes a file holds, it is read, or it is named in an error; nothing is lost without a count."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embexp.data.datasets.folder import READERS, Folder
from embexp.data.readers.tables import SUFFIXES
from embexp.errors import DataError

FORMATS = sorted({*READERS, *SUFFIXES})
STARTS = {
    ".pdf": b"%PDF-1.7\n",
    **dict.fromkeys((".docx", ".pptx", ".xlsx", ".odt", ".odp", ".ods", ".epub"), b"PK\x03\x04"),
    ".eml": b"Subject: x\n",
    ".ipynb": b'{"nbformat": 4, "cells": [',
    ".parquet": b"PAR1",
}
MARKUP = st.lists(
    st.sampled_from(
        [
            *(
                "---\n",
                "+++\n",
                "title: x\n",
                "```\n",
                "````py\n",
                "~~~\n",
                "# h\n",
                "> ",
                "- ",
                "1. ",
                "    ",
                "\n",
            ),
            *(
                "<div>",
                "</div>",
                "<p hidden>",
                "<pre>",
                "<!--",
                "-->",
                "<table><td>",
                "&amp;",
                "{",
                "}",
                "{/*",
                "*/}",
            ),
            *(
                ".. note::\n",
                ".. x:y::\n   :a: b\n\n   ",
                ":role:`x`",
                "::\n\n   ",
                "====\n",
                "+--+\n",
                "|a|\n",
            ),
            *(
                "|===\n",
                "----\n",
                "////\n",
                "[source]\n",
                "import x from 'y'\n",
                "text ",
                "词。",
                "ไทย",
                "\0",
                "\r",
            ),
            *('"', ",", ";", "\t", "\\", "sep=;\n", '{"text": ', "[", "]", "NaN"),
        ]
    ),
    max_size=30,
).map("".join)


class _Named(Exception):  # noqa: N818 - it is what should happen
    """An error names its file."""


def read(name: str, content: bytes, *, on_error: str = "skip") -> str:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_bytes(content)
        Path(folder, "sound.txt").write_text("A sound file.")
        dataset = Folder(path=folder, on_error=on_error)  # type: ignore[arg-type]
        return "\n".join(f"{document.title}\n{document.text}" for document in dataset.documents())


def check(name: str, content: bytes) -> None:
    """Read a file beside a sound one; where an error is wanted, it names the file."""
    assert "A sound file." in read(name, content)
    with contextlib.suppress(_Named):
        try:
            read(name, content, on_error="fail")
        except DataError as error:
            raise _Named if name in str(error) else error from None


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_named(suffix: str, content: bytes) -> None:
    check(f"any{suffix}", content)
    check(f"any{suffix}", STARTS.get(suffix, b"") + content)


@pytest.mark.parametrize("suffix", FORMATS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(content=MARKUP)
def test_arbitrary_markup_is_read_or_named(suffix: str, content: str) -> None:
    check(f"any{suffix}", content.encode())


WORDS = st.lists(st.from_regex(r"[a-z]{3,8}", fullmatch=True), min_size=1, max_size=12)


@pytest.mark.parametrize("suffix", [".md", ".mdx", ".txt", ".rst", ".adoc", ".html", ".eml"])
@settings(max_examples=30, deadline=None)
@given(paragraphs=st.lists(WORDS, min_size=1, max_size=6))
def test_no_word_of_plain_paragraphs_is_lost(suffix: str, paragraphs: list[list[str]]) -> None:
    content = "\n\n".join(" ".join(words) for words in paragraphs)
    start = "Subject: x\n\n" if suffix == ".eml" else ""
    text = read(f"1{suffix}", (start + content).encode()).split()
    wanted = content.split()
    assert [word for word in text if word in wanted][: len(wanted)] == wanted


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_name_that_is_not_utf8_is_read_or_named(suffix: str, tmp_path: Path) -> None:
    import os

    name = os.fsdecode(b"gr\xf6\xdfe" + suffix.encode())
    (tmp_path / name).write_bytes(b"text\nwords of a page\n")
    (tmp_path / "sound.txt").write_text("A sound file.")
    dataset = Folder(path=str(tmp_path))
    for document in dataset.documents():
        f"{document.id}{document.title}{document.text}{document.source}".encode()
    dataset.fingerprint()
