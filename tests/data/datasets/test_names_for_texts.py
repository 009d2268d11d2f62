"""A column of file names, addresses or ids is never embedded as if it held texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from embexp.data.datasets.pairs import PairsFile
from embexp.errors import DataError


def pairs_file(folder: Path, positives: list[str], columns: str = "query,positive") -> PairsFile:
    path = folder / "pairs.csv"
    rows = [f'what is number {at},"{text}"' for at, text in enumerate(positives)]
    path.write_text("\n".join([columns, *rows, ""]))
    return PairsFile(path=str(path))


NAMES = {
    "names of files": ["kettle.md", "Bicycle repair.PDF", "guides/tea.html#boil"],
    "addresses": ["https://wiki/a", "https://wiki/b?x=1", "http://wiki/c"],
    "paths": ["guides/tea", "guides/coffee", "kb/water/"],
    "ids": ["doc_1", "doc_22", "KB-0042"],
    "numbers": ["1", "22", "333"],
    "digests": ["9f86d081884c7d65", "60303ae22b998861", "fd61a03af4f77d87"],
}


@pytest.mark.parametrize("case", NAMES)
def test_names_are_refused_with_the_remedy(tmp_path: Path, case: str) -> None:
    kind = {"numbers": "ids", "digests": "ids"}.get(case, case)
    with pytest.raises(DataError, match=rf"'positive' holds {kind} \(.*dataset=folder dataset.path=FOLDER"):
        list(pairs_file(tmp_path, NAMES[case]).labelled())
    with pytest.raises(DataError, match="only the names would be embedded"):
        list(pairs_file(tmp_path, NAMES[case]).documents())


@pytest.mark.parametrize(
    "texts",
    [
        ["water boils at 100 degrees", "see guides/tea.md for tea", "doc_1"],
        ["kettle", "bicycle", "piano"],
        ["E11.9", "J45", "I10"],
        ["and/or", "either way", "both"],
        ["kettle.md", "tea.md"],  # too few to tell
        ["x1", "x2", "x3"],
    ],
)
def test_texts_are_read(tmp_path: Path, texts: list[str]) -> None:
    assert [pair.positive for pair in pairs_file(tmp_path, texts).labelled()] == texts


CLICKS = "query,positive,clicks\na,water is wet,3\nb,tea is hot,1\na,water is wet,5\nc,ice is cold,2\n"


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({}, {"a": 1, "b": 1, "c": 1}),
        ({"clicks_column": "clicks"}, {"a": 4, "b": 1, "c": 2}),
        ({"clicks_column": "clicks", "min_clicks": 2}, {"a": 4, "c": 2}),
        ({"count_repeats": True}, {"a": 2, "b": 1, "c": 1}),
        ({"weight_column": "clicks"}, {"a": 3, "b": 1, "c": 2}),
    ],
)
def test_clicks_and_repeated_rows_are_weights(
    tmp_path: Path, options: dict[str, str], weights: dict[str, int]
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(CLICKS)
    data = PairsFile(path=str(path), **options)  # type: ignore[arg-type]
    assert {pair.query: pair.weight for pair in data.labelled()} == weights
