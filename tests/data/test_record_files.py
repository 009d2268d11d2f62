from __future__ import annotations

import json
from pathlib import Path

import pytest

from embexp.data.record_files import export_csv, export_parquet, read_jsonl, write_jsonl
from embexp.data.records import Chunk, Generator, Pair
from embexp.errors import DataError

PAIR = Pair(
    id="p1",
    query="how to cap a deque?",
    positive="maxlen bounds it",
    document_id="collections.deque",
    negatives=("a list",),
    label=0.5,
    generator=Generator(kind="llm", model="m", usage={"prompt_tokens": 3}),
)


def test_pairs_survive_the_way_through_a_file(tmp_path: Path) -> None:
    assert write_jsonl(tmp_path / "pairs.jsonl", [PAIR]) == 1
    assert list(read_jsonl(tmp_path / "pairs.jsonl", Pair)) == [PAIR]


def test_a_broken_line_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "chunks.jsonl"
    path.write_text('{"id": "a", "document_id": "d", "text": "t"}\n{"id": \n')
    with pytest.raises(DataError, match=r"chunks\.jsonl:2: not a Chunk record"):
        list(read_jsonl(path, Chunk))


def test_exports_load_with_pandas_in_one_line(tmp_path: Path) -> None:
    import pandas

    assert export_csv(tmp_path / "pairs.csv", [PAIR]) == 1
    assert export_parquet(tmp_path / "pairs.parquet", [PAIR] * 3) == 3
    assert pandas.read_csv(tmp_path / "pairs.csv").loc[0, "query"] == PAIR.query
    table = pandas.read_parquet(tmp_path / "pairs.parquet")
    assert table["label"].tolist() == [0.5, 0.5, 0.5]
    assert json.loads(table.loc[0, "negatives"]) == ["a list"]
