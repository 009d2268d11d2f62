from __future__ import annotations

import pytest

from embexp.data.readers.problems import Problems
from embexp.data.readers.tables import read_rows
from embexp.errors import DataError


def values(path, problems=None):
    return [dict(row.values) for row in read_rows(path, problems or Problems())]


def test_jsonl_reports_broken_lines_with_their_place(tmp_path, caplog):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\nnot json\n[1]\n{"a": 2}\n')
    problems = Problems()
    assert values(path, problems) == [{"a": 1}, {"a": 2}]
    assert problems.summary() == "2 broken line"
    assert f"{path}:3: not JSON" in caplog.text
    assert f"{path}:4: a list instead of an object" in caplog.text


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", "a,b\n1,2\n"), ("a.csv", "a;b\n1;2\n"), ("a.tsv", "a\tb\n1\t2\n"), ("a.csv", "a,b\n\n1,2\n")],
)
def test_csv_finds_its_delimiter(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert values(tmp_path / name) == [{"a": "1", "b": "2"}]


def test_csv_reports_broken_lines_with_their_place(tmp_path, caplog):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n1,2,3\n"x"y,2\n"two\nlines",4\n')
    assert values(path) == [{"a": "1", "b": "2"}, {"a": "two\nlines", "b": "4"}]
    assert f"{path}:3: 3 columns where the header has 2" in caplog.text
    assert f"{path}:4: not CSV" in caplog.text


def test_csv_with_an_open_quote_ends_with_a_report(tmp_path, caplog):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n"open,3\n4,5\n')
    assert values(path) == [{"a": "1", "b": "2"}]
    assert f"{path}:3: not CSV (unexpected end of data)" in caplog.text


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_an_empty_file_has_no_rows(tmp_path, name):
    (tmp_path / name).write_text("")
    assert values(tmp_path / name) == []


def test_a_line_of_five_megabytes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a\n" + "word " * 1_000_000 + "\n")
    assert len(values(path)[0]["a"]) == 5_000_000


def test_parquet_is_read_in_batches(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": list(range(2500)), "b": [["x"]] * 2500}), path)
    rows = list(read_rows(path, Problems()))
    assert len(rows) == 2500
    assert rows[2000].where == f"{path}: row 2001"
    assert rows[2000].values == {"a": 2000, "b": ["x"]}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.parquet", "not a Parquet file that can be read"),
        ("a.xml", r".xml is not a table; give one of .jsonl, .csv"),
        ("missing.csv", "missing.csv does not exist: check dataset.path"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, name, message):
    (tmp_path / "a.parquet").write_text("junk")
    (tmp_path / "a.xml").write_text("<x/>")
    with pytest.raises(DataError, match=message):
        values(tmp_path / name)
