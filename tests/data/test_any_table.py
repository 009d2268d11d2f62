"""Tables of any bytes and of any values: a clear error or pairs, and no row lost without a count."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embexp.data.datasets.beir import BeirFolder
from embexp.data.datasets.folder import Folder
from embexp.data.datasets.pairs import PairColumns, PairsFile, pairs_of
from embexp.data.datasets.questions import QuestionFile
from embexp.data.labels import label_scale
from embexp.data.readers.problems import Problems
from embexp.data.readers.tables import read_rows
from embexp.errors import EmbexpError

ANY = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NAMES = [f"a{suffix}" for suffix in (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".csv.gz", ".jsonl.zst")]
MARKS = st.sampled_from(
    [
        '"',
        "'",
        "\\",
        ",",
        ";",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "|",
        "{",
        "}",
        "[",
        "]",
        ":",
        "a",
        "ß",
        "\0",
        "sep=;",
    ]
)
TABLE_TEXTS = st.lists(MARKS | st.text(max_size=5), max_size=60).map("".join)
RAW = (
    st.binary(max_size=300)
    | TABLE_TEXTS.map(lambda text: text.encode("utf-8", "replace"))
    | TABLE_TEXTS.map(lambda text: f"query,positive\n{text}".encode("utf-16", "replace"))
    | st.tuples(TABLE_TEXTS, st.binary(max_size=20)).map(
        lambda both: b'query,positive\n"a' + both[1] + both[0].encode("cp1252", "replace")
    )
    | TABLE_TEXTS.map(lambda text: gzip.compress(text.encode("utf-8", "replace")))
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=20)
    | st.sampled_from(
        ["nan", "0,9", "90 %", "★★", "[1, 2]", "['a']", "{}", "1e308", "test", "-inf", "9" * 400]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
COLUMNS = (
    "query",
    "positive",
    "negatives",
    "label",
    "document_id",
    "query_id",
    "split",
    "id",
    "generator",
    "chunk_id",
)
ROWS = st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, VALUES)), min_size=1, max_size=6)


def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any")


def checked(data: Any) -> None:
    """Read a data set whole; only embexp's own errors may come out, and texts that can be written."""
    try:
        pairs = list(data.labelled())
        documents = list(data.documents())
        if pairs:
            label_scale(pairs, data.labels)
    except EmbexpError as error:
        str(error).encode()
        return
    for pair in pairs:
        "".join(
            (pair.id, pair.query, pair.positive, pair.document_id, pair.query_id, *pair.negatives)
        ).encode()
        assert "\0" not in pair.query + pair.positive
    for document in documents:
        f"{document.id}{document.title}{document.text}".encode()


@pytest.mark.parametrize("name", NAMES)
@ANY
@given(raw=RAW)
def test_any_bytes_are_a_table_or_a_clear_error(tmp_path_factory, name: str, raw: bytes) -> None:
    file = folder_of(tmp_path_factory) / name
    file.write_bytes(raw)
    checked(PairsFile(path=str(file)))
    checked(Folder(path=str(file)))
    try:
        QuestionFile(path=str(file), on_error="skip").questions()
    except EmbexpError as error:
        str(error).encode()


@ANY
@given(rows=ROWS)
def test_any_values_are_pairs_or_counted(tmp_path_factory, rows: list[dict[str, Any]]) -> None:
    file = folder_of(tmp_path_factory) / "a.jsonl"
    given_rows = [{"query": "q", "positive": "p"}, *rows]
    lines = [json.dumps({**row, "id": f"r{number}"}) + "\n" for number, row in enumerate(given_rows)]
    file.write_text("".join(lines))
    checked(PairsFile(path=str(file)))
    problems = Problems()
    pairs = pairs_of(read_rows(file, problems), PairColumns(), problems, limit=None, place="a")
    used = {pair.id.partition("-")[0] for pair in pairs}
    assert len(given_rows) == len(used) + problems.total()


@ANY
@given(values=st.lists(VALUES.filter(lambda value: not isinstance(value, dict)), min_size=1, max_size=5))
def test_any_column_of_parquet_is_read_or_refused(tmp_path_factory, values: list[Any]) -> None:
    file = folder_of(tmp_path_factory) / "a.parquet"
    try:
        column = pa.array(values)
        pq.write_table(pa.table({"query": column, "positive": column, "text": column}), file)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return  # Parquet holds no such column
    checked(PairsFile(path=str(file)))
    checked(Folder(path=str(file)))


LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters="\ufeff")
CELLS = st.text(LETTERS | st.sampled_from('"\\,;\t\n'), max_size=12).map(str.strip)


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
@ANY
@given(
    rows=st.integers(1, 3).flatmap(
        lambda count: st.lists(st.tuples(*[CELLS] * count), min_size=1, max_size=8)
    ),
    times=st.sampled_from([1, 300]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_a_table_that_a_library_wrote_comes_back_whole(
    tmp_path_factory, name, delimiter, rows, times, quoting
) -> None:
    file = folder_of(tmp_path_factory) / name
    rows = rows * times
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter=delimiter, quoting=quoting)
        writer.writerows([("one", "two", "three")[: len(rows[0])], *rows])
    read = [tuple(value or "" for value in row.values.values()) for row in read_rows(file, Problems("fail"))]
    assert read == [row for row in rows if any(cell.strip() for cell in row)]


@ANY
@given(corpus=st.lists(VALUES, max_size=4), qrels=RAW, queries=st.lists(VALUES, max_size=4))
def test_any_beir_folder_is_read_or_refused(tmp_path_factory, corpus, qrels: bytes, queries) -> None:
    folder = folder_of(tmp_path_factory)
    (folder / "qrels").mkdir()
    documents = [
        {"_id": "d", "text": "x"},
        *({"_id": value, "text": value, "title": value} for value in corpus),
    ]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents))
    asked = [{"_id": "q", "text": "x"}, *({"_id": value, "text": value} for value in queries)]
    (folder / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    (folder / "qrels" / "test.tsv").write_bytes(b"q\td\t1\n" + qrels)
    checked(BeirFolder(path=str(folder), train="none"))
