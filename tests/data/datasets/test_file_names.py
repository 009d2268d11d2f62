"""People name files by a part of the path, without extension, in any case, with other slashes."""

from __future__ import annotations

import unicodedata

import pytest

from embexp.data.datasets.file_names import FileNames
from embexp.errors import DataError

NAMES = FileNames(
    [
        "Guides/Boiling Water.md",
        "guides/tea.md",
        "old/tea.md",
        "tables/codes.csv",
        "v1.2/notes.txt",
        "über uns.html",
        "README.md",
        "docs/README.md",
        "forecast-guide/doc_source/limits.md",
        "lambda-guide/doc_source/limits.md",
    ]
)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("guides/tea.md", "guides/tea.md"),
        ("Guides/Boiling Water", "Guides/Boiling Water.md"),
        ("boiling water.MD", "Guides/Boiling Water.md"),
        ("kb/guides/tea", "guides/tea.md"),
        (r".\guides\TEA.md", "guides/tea.md"),
        ("guides/boiling%20water.md", "Guides/Boiling Water.md"),
        ("https://wiki.example.org/guides/Boiling%20Water", "Guides/Boiling Water.md"),
        (unicodedata.normalize("NFD", "Über uns"), "über uns.html"),
        ("notes", "v1.2/notes.txt"),
        ("codes.csv#A1", "tables/codes.csv#A1"),
        ("README.md", "README.md"),
        ("docs/readme", "docs/README.md"),
        ("lambda-guide/limits.md", "lambda-guide/doc_source/limits.md"),
        ("aws/Lambda-Guide/doc_source/limits", "lambda-guide/doc_source/limits.md"),
    ],
)
def test_a_part_of_the_path_finds_the_file(asked: str, name: str) -> None:
    assert NAMES.find(asked) == name


@pytest.mark.parametrize("asked", ["tea", "TEA.md", "attic/tea.md"])
def test_a_name_of_several_files_is_refused(asked: str) -> None:
    with pytest.raises(DataError, match=r"any of 2 files \(guides/tea.md, old/tea.md\): write more of its"):
        NAMES.find(asked)


@pytest.mark.parametrize("asked", ["coffee", "1", "", "ea.md", "v1"])
def test_another_name_finds_nothing(asked: str) -> None:
    assert NAMES.find(asked) is None


def test_the_nearest_name_is_suggested() -> None:
    assert NAMES.hint("kb/Boilling Water.md") == "did you mean 'Guides/Boiling Water.md'?"
    assert NAMES.hint("zzz") == "names look like 'Guides/Boiling Water.md'."
