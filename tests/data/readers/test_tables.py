from __future__ import annotations

import datetime
import gzip
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embexp.data.readers.problems import Problems
from embexp.data.readers.tables import Row, check_columns, read_rows, text_of
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
    path.write_text('a,b\n1,2\n1,2,3\n"x" y, 2, "z"\n"two\nlines",4\n')
    assert values(path) == [{"a": "1", "b": "2"}, {"a": "two\nlines", "b": "4"}]
    assert f"{path}:3: 3 columns where the header has 2" in caplog.text
    assert f"{path}:4: not CSV" in caplog.text


STRAY = "1 stray quote read as text"


@pytest.mark.parametrize(
    ("lines", "rows", "mended"),
    [
        (["1,2", '"open,3', "4,5", "6,7"], ["1|2", '"open|3', "4|5", "6|7"], STRAY),
        (["1,2", '3,"open', '4,"5"', "6,7"], ["1|2", '3|"open', "4|5", "6|7"], STRAY),
        (["1,2", '3,the "best"', '4,"a ""b"""'], ["1|2", '3|the "best"', '4|a "b"'], ""),
        (["1,2", '3,"say "hi", then go"', "4,5"], ["1|2", '3|say "hi", then go', "4|5"], STRAY),
        (["1,2", r'3,"say \"hi\", then go"', "4,5"], ["1|2", '3|say "hi", then go', "4|5"], ""),
        (["1,2", r'3,"ends in \""', "4,5"], ["1|2", '3|ends in "', "4|5"], ""),
        (["1,2", r'3,"two \"', r'lines\" here"', "4,5"], ["1|2", '3|two "\nlines" here', "4|5"], ""),
        (["1,2", r'3,"c:\dir\"', "4,5"], ["1|2", "3|c:\\dir\\", "4|5"], ""),
        (["1,2", '3,"two', 'lines, here"', "4,5"], ["1|2", "3|two\nlines, here", "4|5"], ""),
        (["1,2,", "3,4,,", ",", " , ", "5,6"], ["1|2", "3|4", "5|6"], ""),
    ],
)
def test_quotes_in_csv_cost_no_other_row(tmp_path, lines, rows, mended):
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["a,b", *lines]) + "\n")
    problems = Problems()
    assert ["|".join(row.values()) for row in values(path, problems)] == rows
    assert (problems.mended(), problems.summary()) == (mended, "")


@pytest.mark.parametrize("count", [499, 500, 501, 2_000])
@pytest.mark.parametrize("every", [1, 7, 3_000])
def test_long_tables_lose_no_row(tmp_path, count, every):
    lines = [f"{at},{chr(34) if at % every == every - 1 else ''}text {at}" for at in range(count)]
    (tmp_path / "a.csv").write_text("\n".join(["id,text", *lines]) + "\n")
    rows = values(tmp_path / "a.csv", Problems(quiet=True))
    assert [row["id"] for row in rows] == [str(at) for at in range(count)]
    assert [row["text"].lstrip('"') for row in rows] == [f"text {at}" for at in range(count)]


def test_a_decimal_comma_without_quotes_is_one_value(tmp_path, caplog):
    path = tmp_path / "a.csv"
    path.write_text("a,b,score\nx,y,0,9\nv,w,1\n1,2,3,4\n")
    problems = Problems()
    assert [row["score"] for row in values(path, problems)] == ["0,9", "1"]
    assert (problems.mended(), problems.summary()) == ("1 decimal comma without quotes", "1 broken line")
    assert f"{path}:2: a number with a decimal comma is taken as one value" in caplog.text


def test_a_row_with_an_open_quote_and_too_many_columns_costs_itself(tmp_path):
    (tmp_path / "a.csv").write_text('a,b\n1,2\n"open,3,4\n5,6\n7,8\n')
    problems = Problems()
    assert [row["a"] for row in values(tmp_path / "a.csv", problems)] == ["1", "5", "7"]
    assert problems.summary() == "1 broken line"


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        (["1\t2", '3\t"open', "4\t5"], ["1|2", '3|"open', "4|5"]),
        (["1\t2", '3\t5" pipe', '4"\t5"'], ["1|2", '3|5" pipe', '4"|5"']),
        (["1\t2", '3\t"two', 'lines"', '4\t"a ""b"""'], ["1|2", "3|two\nlines", '4|a "b"']),
    ],
)
def test_tsv_has_quotes_only_where_the_file_shows_it(tmp_path, lines, rows):
    (tmp_path / "a.tsv").write_text("\n".join(["a\tb", *lines]) + "\n")
    problems = Problems()
    assert ["|".join(row.values()) for row in values(tmp_path / "a.tsv", problems)] == rows
    assert not problems.summary()


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("sep=;\na;b\n1;2,5\n", {"a": "1", "b": "2,5"}),
        ('"sep=|"\na|b\n1|2\n', {"a": "1", "b": "2"}),
        ('"a, first";"b, next, last"\n1;2\n', {"a, first": "1", "b, next, last": "2"}),
        ("\r\n a ; b \r\n1;2\r\n", {"a": "1", "b": "2"}),
        ("a,b\r1,2\r", {"a": "1", "b": "2"}),
        ("a\nHello, world\n", {"a": "Hello, world"}),
        ("a,,b\n1,,2\n", {"a": "1", "b": "2"}),
        ("a,b,b,b\n1,2,3,4\n", {"a": "1", "b": "2", "b_2": "3", "b_3": "4"}),
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path, text, row):
    (tmp_path / "a.csv").write_text(text, newline="")
    assert values(tmp_path / "a.csv") == [row]


@pytest.mark.parametrize(
    "content",
    [
        [{"a": 1}, {"a": 2}],
        {"version": "1", "data": [{"a": 1}, {"a": 2}]},
        {"a": [1, 2]},
        {"a": {"0": 1, "1": 2}, "b": {"0": None, "1": None}},
    ],
)
def test_json_files_hold_rows_in_several_forms(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content, indent=1))
    assert [row["a"] for row in values(tmp_path / "a.json")] == [1, 2]


def test_json_lines_in_a_json_file(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}\n{"a": 2}\n')
    assert values(tmp_path / "a.json") == [{"a": 1}, {"a": 2}]
    (tmp_path / "a.json").write_text("[1, 2")
    with pytest.raises(DataError, match=r"a.json: not JSON"):
        values(tmp_path / "a.json")


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.parquet"])
def test_every_table_may_be_compressed(tmp_path, name, suffix):
    table = pa.table({"a": ["1"], "b": ["2"]})
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "a.tsv").write_text("a\tb\n1\t2\n")
    (tmp_path / "a.jsonl").write_text('{"a": "1", "b": "2"}\n')
    (tmp_path / "a.json").write_text('[{"a": "1", "b": "2"}]')
    raw = (tmp_path / name).read_bytes()
    packed = tmp_path / f"{name}{suffix}"
    packed.write_bytes(gzip.compress(raw) if suffix == ".gz" else pa.compress(raw, "zstd", asbytes=True))
    assert values(packed) == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (math.nan, ""),
        ("nan", ""),
        (1.0, "1"),
        (1.5, "1.5"),
        (7, "7"),
        ("1.0", "1.0"),
        ("None", "None"),
        (" a ", "a"),
        (["a", None, "b "], "a\n\nb"),
        ({"title": "T", "text": "a", "docid": 3}, "T\na"),
        ({"k": "ü"}, '{"k": "ü"}'),
        (b"\xff\xd8\xff\xe0\0\x10", ""),
        (datetime.date(2024, 5, 1), "2024-05-01"),
    ],
)
def test_the_text_of_values(value, text):
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (["a", " ", "b"], ("a", "b")),
        ('["a", "b"]', ("a", "b")),
        ("['a', 'b']", ("a", "b")),
        ("[see below]", ("[see below]",)),
        ("[1] is a source", ("[1] is a source",)),
        (None, ()),
        (3.0, ("3",)),
    ],
)
def test_a_cell_may_hold_several_texts(value, texts):
    assert Row("a:1", {"c": value}).texts("c") == texts


def test_what_is_no_text_is_mended_and_counted(tmp_path, caplog):
    lines = [
        '{"a": "half \\ud83d"}',
        '{"a": "whole \\ud83d\\ude00"}',
        '{"a": "n\\u0000ul", "b": ["\\u0000"]}',
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    problems = Problems()
    assert [row["a"] for row in values(tmp_path / "a.jsonl", problems)] == ["half \ufffd", "whole 😀", "nul"]
    assert problems.mended() == "2 NUL character removed, 1 half of a surrogate pair replaced"
    assert f"{tmp_path / 'a.jsonl'}:1: 1 half of a surrogate pair" in caplog.text


def test_bytes_in_parquet_are_decoded(tmp_path):
    column = pa.array(
        [b"plain", "schön".encode(), "schön".encode("cp1252"), b"\x89PNG\r\n\x1a\n\0\0\0"], pa.binary()
    )
    pq.write_table(pa.table({"a": column}), tmp_path / "a.parquet")
    rows = list(read_rows(tmp_path / "a.parquet", Problems()))
    assert [row.text("a") for row in rows] == ["plain", "schön", "schön", ""]


def test_a_value_that_python_lacks_costs_its_row(tmp_path, caplog):
    days = pa.array([1, 10**18, 2], pa.int64()).cast(pa.timestamp("us"))
    pq.write_table(pa.table({"a": days}), tmp_path / "a.parquet")
    problems = Problems()
    assert len(list(read_rows(tmp_path / "a.parquet", problems))) == 2
    assert problems.summary() == "1 broken row"
    assert "row 2: its values cannot be read" in caplog.text


def test_a_file_without_a_header_is_explained(tmp_path):
    (tmp_path / "a.csv").write_text("where does the night ferry to the islands leave?,at the old pier\n")
    rows = list(read_rows(tmp_path / "a.csv", Problems()))
    assert not rows
    row = Row("a.csv:2", {"where does the night ferry to the islands leave?": "x", "pier": "y"})
    with pytest.raises(DataError, match=r"to the island…, pier\. The first line of the file has to name"):
        check_columns(row, ["query"], "dataset.query_column")


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
        ("a.xml", r".xml is not a table; give one of .jsonl, .ndjson, .json, .csv"),
        ("missing.csv", "missing.csv does not exist: check dataset.path"),
    ],
)
def test_a_file_that_is_no_table(tmp_path, name, message):
    (tmp_path / "a.parquet").write_text("junk")
    (tmp_path / "a.xml").write_text("<x/>")
    with pytest.raises(DataError, match=message):
        values(tmp_path / name)
