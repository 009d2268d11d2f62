from __future__ import annotations

import json
import math

import pytest

from embexp.data.datasets.pairs import PairsFile
from embexp.data.record_files import export_csv, export_parquet, write_jsonl
from embexp.data.records import Generator, Pair
from embexp.errors import ConfigError, DataError

FULL = Pair(
    id="p1",
    query="how to cap",
    positive="deque\nuse maxlen",
    document_id="collections.deque",
    query_id="q1",
    chunk_id="c1",
    negatives=("first wrong", "second wrong"),
    label=0.5,
    query_type="title",
    split="dev",
    context_ids=("c1", "c2"),
    generator=Generator(kind="rag", model="m", usage={"tokens": 3}),
)


def jsonl(tmp_path, *rows):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("name", "write"), [("p.jsonl", write_jsonl), ("p.csv", export_csv), ("p.parquet", export_parquet)]
)
def test_what_embexp_writes_comes_back_whole(tmp_path, name, write):
    write(tmp_path / name, [FULL])
    assert list(PairsFile(path=str(tmp_path / name)).labelled()) == [FULL]


def test_query_and_positive_are_enough(tmp_path):
    data = PairsFile(path=jsonl(tmp_path, {"query": "a", "positive": "b"}, {"query": "a", "positive": "c"}))
    first, second = data.labelled()
    assert (first.label, first.split, first.negatives, first.generator.kind) == (None, None, (), "human")
    assert first.query_id == second.query_id
    assert first.document_id != second.document_id
    assert [document.id for document in data.documents()] == [first.document_id, second.document_id]
    assert (data.unit, data.name) == ("document", "pairs")


def test_columns_can_be_named(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("text_a,text_b,score\na,b,0.3\n")
    data = PairsFile(path=str(path), query_column="text_a", positive_column="text_b", label_column="score")
    (pair,) = data.labelled()
    assert (pair.query, pair.positive, pair.label) == ("a", "b", 0.3)


@pytest.mark.parametrize(
    ("header", "logged"),
    [
        ("text_a,text_b,score", "text_a as the query, text_b as the passage and score as the label"),
        ("sentence1,sentence2,similarity", "sentence1 as the query"),
        (
            "premise,hypothesis,label",
            "premise as the query, hypothesis as the passage and label as the label",
        ),
        ("anchor,positive,class", "anchor as the query, positive as the passage and class as the label"),
    ],
)
def test_usual_names_are_recognised_and_logged(tmp_path, header, logged, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "p.csv"
    path.write_text(f"{header}\na,b,0.3\nc,d,1\n")
    data = PairsFile(path=str(path))
    assert [(pair.query, pair.positive, pair.label) for pair in data.labelled()] == [
        ("a", "b", 0.3),
        ("c", "d", 1.0),
    ]
    assert f"reading {logged}" in caplog.text
    caplog.clear()
    assert len(list(data.documents())) == 2
    assert not caplog.text


def test_a_column_that_the_user_names_is_never_replaced(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("text_a,text_b,score\na,b,0.3\n")
    with pytest.raises(DataError, match="no column 'positive'"):
        list(PairsFile(path=str(path), query_column="text_a").labelled())
    (pair,) = PairsFile(path=str(path), label_column=None).labelled()
    assert pair.label is None


def test_a_score_beside_the_usual_columns_is_no_label(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("query,positive,score\na,b,0.3\n")
    (pair,) = PairsFile(path=str(path)).labelled()
    assert pair.label is None


def test_labels_in_words_are_read_as_numbers(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "nli.csv"
    path.write_text(
        "premise,hypothesis,label\na,b,entailment\nc,d,Neutral\ne,f,contradiction\ng,h,not_duplicate\n"
    )
    assert [pair.label for pair in PairsFile(path=str(path)).labelled()] == [1.0, 0.0, -1.0, 0.0]
    assert (
        "labels in words are read as Neutral 0, contradiction -1, entailment 1, not_duplicate 0"
        in caplog.text
    )


def test_other_words_can_be_given_values(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("text_a,text_b,class\na,b,cause\nc,d,effect\ne,f,no\n")
    values = {"cause": 2, "effect": 1, "no": -3}
    data = PairsFile(path=str(path), label_values=values)
    assert [pair.label for pair in data.labelled()] == [2.0, 1.0, -3.0]


def test_words_without_a_value_are_listed(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("text_a,text_b,class\na,b,shipping\nc,d,billing\n")
    remedy = r"its labels are words \(billing, shipping\).*'dataset.label_values=\{billing: 0, shipping: 1\}'"
    with pytest.raises(DataError, match=remedy):
        list(PairsFile(path=str(path)).labelled())


def test_a_column_can_be_turned_off(tmp_path):
    data = PairsFile(path=jsonl(tmp_path, {"query": "a", "positive": "b", "label": "x"}), label_column=None)
    assert next(data.labelled()).label is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["x", "", None], ("x",)),
        ('["x", "y"]', ("x", "y")),
        ("x", ("x",)),
        ("[not json", ("[not json",)),
        (None, ()),
    ],
)
def test_negatives_in_any_form(tmp_path, value, expected):
    data = PairsFile(path=jsonl(tmp_path, {"query": "a", "positive": "b", "negatives": value}))
    assert next(data.labelled()).negatives == expected


@pytest.mark.parametrize(("name", "split"), [("train", "train"), ("Validation", "dev"), ("test", "test")])
def test_splits_go_by_their_usual_names(tmp_path, name, split):
    assert (
        next(PairsFile(path=jsonl(tmp_path, {"query": "a", "positive": "b", "split": name})).labelled()).split
        == split
    )


def test_documents_hold_each_passage_once_and_join_those_of_one_document(tmp_path):
    rows = [
        {"query": "1", "positive": "part one", "document_id": "d", "negatives": ["wrong", "part two"]},
        {"query": "2", "positive": "other", "document_id": "e", "negatives": ["wrong"]},
        {"query": "3", "positive": "part two", "document_id": "d"},
        {"query": "4", "positive": "part one", "document_id": "d"},
        {"query": "5", "positive": "part one", "document_id": "f"},
    ]
    documents = {
        document.id: document.text for document in PairsFile(path=jsonl(tmp_path, *rows)).documents()
    }
    assert documents.pop("d") == "part one\n\npart two"
    assert documents.pop("e") == "other"
    assert documents.pop("f") == "part one"
    assert list(documents.values()) == ["wrong"]


PROBLEMS = [
    ("not json", "pairs.jsonl:2: not JSON", "broken line"),
    ({"query": " ", "positive": "b"}, "pairs.jsonl:2: column 'query' is empty", "pair without text"),
    ({"query": "a"}, "pairs.jsonl:2: column 'positive' is empty", "pair without text"),
    (
        {"query": "a", "positive": "b", "label": "high"},
        "2: label 'high' is not a number",
        "label not a number",
    ),
    ({"query": "a", "positive": "b", "label": "nan"}, "2: label 'nan' is not a number", "label not a number"),
    ({"query": "a", "positive": "b", "split": "exam"}, "2: split 'exam' is none of train", "unknown split"),
    ({"query": "a", "positive": "b", "id": "good"}, "2: the id 'good' is taken", "duplicate id"),
]


@pytest.mark.parametrize(("row", "message", "reason"), PROBLEMS)
def test_a_bad_row_is_skipped_or_stops_the_run(tmp_path, caplog, row, message, reason):
    caplog.set_level("INFO")
    path = jsonl(tmp_path, {"id": "good", "query": "q", "positive": "p"}, row)
    assert [pair.id for pair in PairsFile(path=path).labelled()] == ["good"]
    assert message in caplog.text
    assert f"1 pairs; skipped: 1 {reason}" in caplog.text
    with pytest.raises(DataError, match=message):
        list(PairsFile(path=path, on_error="fail").labelled())


def test_a_repeated_row_is_counted_even_where_errors_stop_the_run(tmp_path, caplog):
    caplog.set_level("INFO")
    row = {"query": "a", "positive": "b"}
    assert len(list(PairsFile(path=jsonl(tmp_path, row, row), on_error="fail").labelled())) == 1
    assert "skipped: 1 repeated row" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"no column 'query'; there are qery, positive. Did you mean 'qery'\?"),
        ({"query_column": "qery", "label_column": "score"}, "no column 'score'"),
    ],
)
def test_a_missing_column(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        list(PairsFile(path=jsonl(tmp_path, {"qery": "a", "positive": "b"}), **options).labelled())


@pytest.mark.parametrize("rows", [[], [{"query": "", "positive": "b"}]])
def test_a_file_without_pairs(tmp_path, rows):
    with pytest.raises(DataError, match="no pair in it"):
        list(PairsFile(path=jsonl(tmp_path, *rows)).labelled())


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"no.csv is not a file: check dataset.path"):
        PairsFile(path=str(tmp_path / "no.csv")).fingerprint()


def test_a_limit_holds_for_pairs_and_their_documents(tmp_path):
    rows = [{"query": str(number), "positive": f"p{number}"} for number in range(20)]
    data = PairsFile(path=jsonl(tmp_path, *rows), limit=5)
    assert {pair.positive for pair in data.labelled()} == {document.text for document in data.documents()}
    assert len(list(data.labelled())) == 5


def test_the_fingerprint_follows_content_and_settings(tmp_path):
    path = jsonl(tmp_path, {"query": "a", "positive": "b"})
    first = PairsFile(path=path).fingerprint()
    assert PairsFile(path=path).fingerprint() == first
    assert PairsFile(path=path, limit=1).fingerprint() != first
    jsonl(tmp_path, {"query": "a", "positive": "c"})
    assert PairsFile(path=path).fingerprint() != first


@pytest.mark.parametrize(
    "names", [("query", "pos", "neg"), ("anchor", "positives", "negatives"), ("Question", "Pos", "Neg")]
)
def test_a_list_of_positives_is_a_pair_for_each(tmp_path, names):
    values = ("when?", ["at noon", "at night"], ["in Rome", "in Oslo"])
    data = PairsFile(path=jsonl(tmp_path, dict(zip(names, values, strict=True))))
    first, second = data.labelled()
    assert (first.positive, second.positive) == ("at noon", "at night")
    assert first.negatives == second.negatives == ("in Rome", "in Oslo")
    assert first.query_id == second.query_id
    assert first.id != second.id
    assert [d.text for d in data.documents()] == ["at noon", "in Rome", "in Oslo", "at night"]


def test_lists_in_a_csv_file_are_unpacked(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("""query,pos,neg\nwhen?,"['at noon', 'at night']","[""in Rome""]"\n""")
    assert [(p.positive, p.negatives) for p in PairsFile(path=str(path)).labelled()] == [
        ("at noon", ("in Rome",)),
        ("at night", ("in Rome",)),
    ]


def test_passages_in_the_form_of_objects_keep_their_ids(tmp_path):
    row = {
        "query": "when?",
        "positive_passages": [{"docid": "7", "title": "Noon", "text": "at noon"}],
        "negative_passages": [{"docid": "8", "title": "", "text": "in Rome"}],
    }
    (pair,) = PairsFile(path=jsonl(tmp_path, row)).labelled()
    assert (pair.positive, pair.document_id, pair.negatives) == ("Noon\nat noon", "7", ("in Rome",))


@pytest.mark.parametrize(
    ("header", "negatives"),
    [
        ("anchor,positive,negative", ("c",)),
        ("query,positive,neg", ("c",)),
        ("query,positive,hard_negatives", ("c",)),
        ("anchor,positive,negative_1,negative_2", ("c", "d")),
        ("anchor,positive,negative_10,negative_2", ("d", "c")),
        ("query,positive,neg1,neg2", ("c", "d")),
        ("query,positive,negative,negative_1", ("c", "d")),
        ("query,positive,negative,negative", ("c", "d")),
    ],
)
def test_columns_of_negatives_are_recognised_and_said(tmp_path, caplog, header, negatives):
    caplog.set_level("INFO")
    path = tmp_path / "a.csv"
    count = header.count(",") + 1
    path.write_text(f"{header}\n{','.join('abcd'[:count])}\n")
    (pair,) = PairsFile(path=str(path)).labelled()
    assert pair.negatives == negatives
    assert "as negatives (dataset.negatives_column)" in caplog.text


@pytest.mark.parametrize(("option", "read"), [("negatives", ("c",)), ("hard_negatives", ("d",)), (None, ())])
def test_a_column_that_looks_like_negatives_and_is_not_read_is_said(tmp_path, caplog, option, read):
    path = tmp_path / "a.csv"
    path.write_text("query,positive,negatives,hard_negatives\na,b,c,d\n")
    (pair,) = PairsFile(path=str(path), negatives_column=option).labelled()
    assert pair.negatives == read
    assert "looks like negatives and is not read; dataset.negatives_column=" in caplog.text


@pytest.mark.parametrize(
    ("label", "number"), [("0,9", 0.9), ("90 %", 0.9), ("4/5", 0.8), ("★★★☆☆", 3.0), (1.0, 1.0), (True, 1.0)]
)
def test_labels_in_the_forms_that_people_write(tmp_path, label, number):
    (pair,) = PairsFile(path=jsonl(tmp_path, {"query": "a", "positive": "b", "label": label})).labelled()
    assert pair.label == pytest.approx(number)


def test_labels_with_decimal_commas_are_said(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "a.csv"
    path.write_text("text_a;text_b;score\na;b;0,9\nc;d;1\n")
    assert [pair.label for pair in PairsFile(path=str(path)).labelled()] == [0.9, 1.0]
    assert "labels such as '0,9' are read as numbers, 0.9 for this one (decimal comma)" in caplog.text


@pytest.mark.parametrize(
    ("label", "reason"), [(1e308, "out of range"), (math.nan, "not a number"), (-1e9, "out of range")]
)
def test_labels_that_no_scale_has_cost_their_row(tmp_path, caplog, label, reason):
    caplog.set_level("INFO")
    good = {"query": "q", "positive": "p", "label": 1}
    data = PairsFile(path=jsonl(tmp_path, good, {"query": "a", "positive": "b", "label": label}))
    assert len(list(data.labelled())) == 1
    assert f"1 label {reason}" in caplog.text


@pytest.mark.parametrize("missing", [None, math.nan, "", "nan", []])
def test_a_missing_passage_costs_its_row(tmp_path, caplog, missing):
    caplog.set_level("INFO")
    path = jsonl(tmp_path, {"query": "q", "positive": "p"}, {"query": "a", "positive": missing})
    assert [pair.positive for pair in PairsFile(path=path).labelled()] == ["p"]
    assert "skipped: 1 pair without text" in caplog.text


def test_an_encoding_may_be_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("query,positive\ngdzie łódź?,w porcie\n".encode("cp1250"))
    assert next(PairsFile(path=str(path), encoding="cp1250").labelled()).query == "gdzie łódź?"
    with pytest.raises(ConfigError, match=r"dataset.encoding=latin-99: there is no such encoding"):
        PairsFile(path=str(path), encoding="latin-99")
