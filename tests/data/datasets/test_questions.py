from __future__ import annotations

import json
from pathlib import Path

import pytest

from embexp.data.datasets.questions import Question, QuestionFile
from embexp.errors import DataError


def jsonl(tmp_path: Path, *rows: dict) -> str:
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def csv(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "q.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def read(path: str, **settings) -> dict[str, dict[str, int]]:
    return {found.text: dict(found.relevant) for found in QuestionFile(path=path, **settings).questions()}


@pytest.mark.parametrize(
    ("relevant", "expected"),
    [
        (["a", "b"], {"a": 1, "b": 1}),
        ({"a": 2, "b": 0}, {"a": 2, "b": 0}),
        ("a; b", {"a": 1, "b": 1}),
        ("a.md", {"a.md": 1}),
        ('["a", "b"]', {"a": 1, "b": 1}),
        ([7], {"7": 1}),
        ([], {}),
        (None, {}),
        ("", {}),
    ],
)
def test_relevant_ids_in_any_way_of_writing(
    tmp_path: Path, relevant: object, expected: dict[str, int]
) -> None:
    assert read(jsonl(tmp_path, {"text": "how to boil", "relevant": relevant})) == {"how to boil": expected}


def test_a_table_of_judgments_is_put_together_by_question(tmp_path: Path) -> None:
    path = csv(tmp_path, "text,relevant,grade", "how to boil,a,2", "how to ride,c,", "how to boil,b,1")
    assert read(path) == {"how to boil": {"a": 2, "b": 1}, "how to ride": {"c": 1}}


def test_a_struct_of_parquet_gives_its_own_ids_alone(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"text": "x", "relevant": {"a": 2}}, {"text": "y", "relevant": {"b": 1}}]
    pq.write_table(
        pa.Table.from_pylist(
            rows,
            pa.schema(
                [
                    ("text", pa.string()),
                    ("relevant", pa.struct([("a", pa.int64()), ("b", pa.int64())])),
                ]
            ),
        ),
        tmp_path / "q.parquet",
    )
    assert read(str(tmp_path / "q.parquet")) == {"x": {"a": 2}, "y": {"b": 1}}


def test_ids_and_places_are_kept(tmp_path: Path) -> None:
    path = csv(tmp_path, "id,text,relevant", "q7,how to boil,a")
    wanted = Question("q7", "how to boil", f"{path}:2", {"a": 1}, {"a": 1.0})
    assert QuestionFile(path=path).questions() == [wanted]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["text,relevant", ",a"],
            r"q.csv:2: no question in the column 'text'; write one. Or set "
            r"benchmark.questions.on_error=skip",
        ),
        (["text,relevant,grade", "x,a,2.5"], r"q.csv:2: grade '2.5' is not a whole number"),
        (["text,relevant,grade", "x,a,-1"], r"q.csv:2: grade '-1' is not a whole number from 0 up"),
        (["id,text", "1,x", "1,y"], r"q.csv:3: the id '1' is in .*q.csv:2 with another text"),
        (["frage,relevant", "x,a"], r"no column 'text'; there are frage, relevant.*text_column"),
        (["text,relevant"], r"holds no question"),
    ],
)
def test_a_bad_row_names_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        QuestionFile(path=csv(tmp_path, *lines)).questions()


def test_bad_rows_can_be_left_out(tmp_path: Path) -> None:
    path = csv(tmp_path, "text,relevant,grade", "x,a,best", "y,b,1")
    assert read(path, on_error="skip") == {"y": {"b": 1}}


def test_a_missing_file_names_its_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"benchmark.questions.path=nowhere.csv: there is no such file"):
        QuestionFile(path="nowhere.csv").questions()


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    first = QuestionFile(path=csv(tmp_path, "text", "x")).fingerprint()
    (tmp_path / "moved.csv").write_text("text\nx\n")
    assert QuestionFile(path=str(tmp_path / "moved.csv")).fingerprint() == first
    assert QuestionFile(path=csv(tmp_path, "text", "y")).fingerprint() != first
