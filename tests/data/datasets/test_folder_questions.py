"""A folder with a table of questions and the files that answer them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from embexp.data.datasets.folder import Folder
from embexp.data.records import TEST_ONLY
from embexp.errors import DataError


@pytest.fixture
def kb(tmp_path: Path) -> Path:
    folder = tmp_path / "kb"
    (folder / "guides").mkdir(parents=True)
    for name in ("guides/Tea.md", "guides/coffee.md", "water.txt"):
        (folder / name).write_text(f"# About {name}\n\nSome text on {name}.\n")
    return folder


def table(kb: Path, text: str, name: str = "questions.csv") -> str:
    path = kb.parent / name
    path.write_text(text)
    return str(path)


def answers(data: Folder) -> list[tuple[str, str]]:
    return [(pair.query, pair.document_id) for pair in data.labelled()]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("question,file", "how long does tea draw,guides/Tea.md"),
        ("Query;Filename", "how long does tea draw;tea"),
        ("text\trelevant", "how long does tea draw\tTEA.md"),
        ("page,clicks,search term", "kb/guides/tea,3,how long does tea draw"),
        ("User question,Answer,Source document", "how long does tea draw,some minutes,kb/guides/tea"),
        ("number,question_text,Document_True", "7,how long does tea draw,tea"),
    ],
)
def test_columns_and_names_are_recognised(kb: Path, header: str, row: str) -> None:
    data = Folder(path=str(kb), questions=table(kb, f"{header}\n{row}\n"))
    assert answers(data) == [("how long does tea draw", "guides/Tea.md")]
    assert data.unit == "document"


def test_a_question_may_be_answered_by_several_files(kb: Path) -> None:
    rows = "question,file\nwhat is hot,tea; guides/coffee.md\nwhat is wet,water\nwhat is wet,tea\n"
    pairs = list(Folder(path=str(kb), questions=table(kb, rows)).labelled())
    assert [(pair.query, pair.document_id) for pair in pairs] == [
        ("what is hot", "guides/Tea.md"),
        ("what is hot", "guides/coffee.md"),
        ("what is wet", "water.txt"),
        ("what is wet", "guides/Tea.md"),
    ]
    assert len({pair.query_id for pair in pairs}) == 2
    assert len({pair.id for pair in pairs}) == 4


def test_json_lines_with_lists_and_grades(kb: Path) -> None:
    rows = (
        '{"query": "what is hot", "files": {"tea": 2, "coffee": 1}}\n{"query": "wet", "files": ["water"]}\n'
    )
    pairs = list(Folder(path=str(kb), questions=table(kb, rows, "q.jsonl")).labelled())
    assert [(pair.document_id, pair.label) for pair in pairs] == [
        ("guides/Tea.md", 2.0),
        ("guides/coffee.md", 1.0),
        ("water.txt", 1.0),
    ]


@pytest.mark.parametrize(
    ("rows", "least", "weights"),
    [
        ("question,file\na,tea\na,tea\na,tea\na,tea\na,water\n", 1, {"guides/Tea.md": 3, "water.txt": 1}),
        ("question,file,clicks\na,tea,100\na,water,\n", 1, {"guides/Tea.md": 7, "water.txt": 1}),
        ("question,file,count\na,tea,3\na,water,1\na,tea,2\n", 2, {"guides/Tea.md": 3}),
        ("question,file,clicks\na,tea,9\nb,water,1\n", 5, {"guides/Tea.md": 4}),
    ],
)
def test_repeated_rows_and_clicks_are_weights(
    kb: Path, rows: str, least: int, weights: dict[str, int]
) -> None:
    data = Folder(path=str(kb), questions=table(kb, rows), min_clicks=least)
    assert {pair.document_id: pair.weight for pair in data.labelled()} == weights


def test_an_unknown_file_is_counted_with_the_nearest(kb: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "question,file\nwhat is hot,tea\nwhat is black,cofee.md\nwhat is wet,water\n"
    caplog.set_level(logging.INFO)
    assert len(answers(Folder(path=str(kb), questions=table(kb, rows)))) == 2
    assert (
        "questions.csv:3: 'cofee.md' is no file of the folder: did you mean 'guides/coffee.md'?"
        in caplog.text
    )
    assert "1 unknown file name" in caplog.text


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            "question,file\nwhat is hot,tea\nwhat is black,cofee.md\nwhat is wet,water\n",
            {"on_error": "fail"},
            "questions.csv:3: 'cofee.md' is no file of the folder",
        ),
        (
            "question,answer,file\nwhat is hot,It is tea.,x1\nwhat is wet,It is water.,x2\n",
            {"file_column": "answer"},
            r"'It is tea.' is no file.*2 of 2 questions name none.*answers as texts are for dataset=pairs",
        ),
        ("a,b\nwhat is hot,tea\n", {}, "dataset.question_column and dataset.file_column"),
        (
            "question,answers in\nwhat is hot,tea\n",
            {},
            "questions.csv: none of the columns question, answers in is known as that of the files .* "
            "dataset.file_column names it",
        ),
        (
            "question,new file,old file\nwhat is hot,tea,\n",
            {},
            "none of the columns question, new file, old file is known",
        ),
        ("question,file\nwhat is hot,tea\n", {"question_column": "nope"}, "nope"),
        ("question,file,clicks\na,tea,many\n", {"on_error": "fail"}, "clicks 'many' is not a number"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    kb: Path, rows: str, options: dict[str, str], message: str
) -> None:
    data = Folder(path=str(kb), questions=table(kb, rows), **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message):
        list(data.labelled())


def test_a_missing_table_is_named(kb: Path) -> None:
    with pytest.raises(DataError, match=r"dataset.questions=nowhere.csv: there is no such file"):
        Folder(path=str(kb), questions="nowhere.csv").fingerprint()


def test_the_table_may_be_in_the_folder_and_is_no_document(kb: Path) -> None:
    path = kb / "questions.csv"
    path.write_text("question,file,text\nwhat is hot,tea,a\n")
    data = Folder(path=str(kb), questions=str(path))
    assert {document.id for document in data.documents()} == {
        "guides/Tea.md",
        "guides/coffee.md",
        "water.txt",
    }


def test_a_sample_keeps_what_answers_a_question(kb: Path) -> None:
    for number in range(40):
        (kb / f"more{number}.md").write_text(f"# More {number}\n\nOther text, number {number}.\n")
    path = table(kb, "question,file\nwhat is hot,tea\nwhat is wet,water\n")
    names = [document.id for document in Folder(path=str(kb), questions=path, limit=5).documents()]
    assert len(names) == 5
    assert {"guides/Tea.md", "water.txt"} < set(names)
    assert len(list(Folder(path=str(kb), questions=path, limit=1).documents())) == 2


def test_the_digest_follows_the_table(kb: Path) -> None:
    path = table(kb, "question,file\nwhat is hot,tea\n")
    data = Folder(path=str(kb), questions=path)
    before = data.fingerprint()
    Path(path).write_text("question,file\nwhat is wet,water\n")
    assert data.fingerprint() != before


def test_questions_for_the_test_alone_are_marked(kb: Path) -> None:
    path = table(kb, "question,file\nwhat is hot,tea\n")
    data = Folder(path=str(kb), questions=path, questions_for="test")
    assert [pair.generator.kind for pair in data.labelled()] == [TEST_ONLY]
