from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from embexp.data.datasets.beir import BeirFolder
from embexp.data.labels import label_scale
from embexp.errors import ConfigError, DataError


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "myset"
    (root / "qrels").mkdir(parents=True)
    lines(
        root / "corpus.jsonl",
        [
            {"_id": "d1", "title": "Queues", "text": "Two ends."},
            {"_id": "d2", "title": "", "text": "Heaps."},
            {"_id": "d3", "title": "Only a title", "text": ""},
            *({"_id": f"x{number}", "text": f"other {number}"} for number in range(20)),
        ],
    )
    lines(
        root / "queries.jsonl",
        [{"_id": f"q{number}", "text": f"question {number}"} for number in range(1, 8)],
    )
    (root / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t1\nq2\td3\t1\n")
    (root / "qrels" / "test.tsv").write_text("q3\td1\t1\nq3\td2\t0\nq4\td2\t1\n")
    return root


def keys(data):
    return [pair.id for pair in data.labelled()]


def test_pairs_carry_grade_split_and_passage(folder):
    data = BeirFolder(path=str(folder))
    first, second, third, *test = data.labelled()
    assert (first.query, first.positive, first.label) == ("question 1", "Queues\nTwo ends.", 2.0)
    assert (second.positive, second.query_id, second.document_id) == ("Heaps.", "q1", "d2")
    assert third.positive == "Only a title"
    assert {pair.split for pair in (first, second, third)} == {"train"}
    assert [(pair.id, pair.split) for pair in test] == [("test/q3/d1", "test"), ("test/q4/d2", "test")]
    assert (data.name, data.unit) == ("myset", "document")
    assert len(list(data.documents())) == 23


@pytest.mark.parametrize(
    ("train", "expected"),
    [("qrels", {"train", "dev", "test"}), ("synthetic", {"dev", "test"}), ("none", {"test"})],
)
def test_train_says_which_judgments_are_used(folder, train, expected):
    (folder / "qrels" / "dev.tsv").write_text("q5\td1\t1\n")
    data = BeirFolder(path=str(folder), train=train)
    assert {pair.split for pair in data.labelled()} == expected
    assert data.train == train


def test_a_limit_keeps_all_judged_documents(folder):
    documents = [document.id for document in BeirFolder(path=str(folder), limit=5).documents()]
    assert documents[:3] == ["d1", "d2", "d3"]
    assert len(documents) == 5
    assert [d.id for d in BeirFolder(path=str(folder), limit=1).documents()] == ["d1", "d2", "d3"]


def test_a_limit_on_queries_holds_for_each_split(folder):
    data = BeirFolder(path=str(folder), limit_queries=1)
    pairs = list(data.labelled())
    assert {split: len({p.query_id for p in pairs if p.split == split}) for split in ("train", "test")} == {
        "train": 1,
        "test": 1,
    }
    assert keys(data) == [pair.id for pair in pairs]


QRELS = {
    "test.tsv": "q3\td1\t1\nq3\td2\t0\nq4\td2\t1\n",
    "test.txt": "q3 0 d1 1\nq3 0 d2 0\nq4 0 d2 1\n",
    "test.qrels": "q3\t0\td1\t1\nq3\t0\td2\t0\nq4\t0\td2\t1\n",
    "test.trec": "q3  Q0   d1 1\r\nq4 Q0 d2 1\r\n",
    "test.csv": "qid,docid,relevance\nq3,d1,1\nq3,d2,0\nq4,d2,1\n",
    "test.jsonl": '{"qid": "q3", "doc_id": "d1", "score": 1}\n{"qid": "q4", "doc_id": "d2", "score": 1.0}\n',
}


@pytest.mark.parametrize("name", QRELS)
def test_qrels_in_the_forms_of_trec_and_of_tables(folder, name):
    (folder / "qrels" / "test.tsv").unlink()
    (folder / "qrels" / name).write_text(QRELS[name])
    assert keys(BeirFolder(path=str(folder), train="none")) == ["test/q3/d1", "test/q4/d2"]


def test_a_header_may_name_the_columns_in_another_order(folder):
    (folder / "qrels" / "test.tsv").write_text("doc_id\tquery_id\tscore\nd1\tq3\t1\n")
    assert keys(BeirFolder(path=str(folder), train="none")) == ["test/q3/d1"]


@pytest.mark.parametrize("name", ["dev.tsv", "valid.tsv", "validation.tsv", "val.txt", "valid.tsv.gz"])
def test_the_dev_split_goes_by_its_usual_names(folder, name):
    raw = b"q5\td1\t1\n"
    (folder / "qrels" / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    pairs = BeirFolder(path=str(folder)).labelled()
    assert [pair.id for pair in pairs if pair.split == "dev"] == ["dev/q5/d1"]


def test_of_two_files_of_a_split_one_is_read_and_the_other_named(folder, caplog):
    (folder / "qrels" / "dev.tsv").write_text("q5\td1\t1\n")
    (folder / "qrels" / "valid.tsv").write_text("q6\td1\t1\n")
    assert "dev/q5/d1" in keys(BeirFolder(path=str(folder)))
    assert "dev.tsv is read, and not valid.tsv." in caplog.text


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_every_file_may_be_compressed(folder, suffix):
    before = keys(BeirFolder(path=str(folder)))
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        raw = file.read_bytes()
        packed = gzip.compress(raw) if suffix == ".gz" else pa.compress(raw, "zstd", asbytes=True)
        file.with_name(file.name + suffix).write_bytes(packed)
        file.unlink()
    data = BeirFolder(path=str(folder))
    assert keys(data) == before
    assert len(list(data.documents())) == 23
    assert data.fingerprint()


def test_the_corpus_may_be_another_kind_of_table(folder):
    (folder / "corpus.jsonl").unlink()
    (folder / "corpus.tsv").write_text(
        "id\ttitle\ttext\nd1\tQueues\tTwo ends.\nd2\t\tHeaps.\nd3\tOnly a title\t\n"
    )
    assert [d.title for d in BeirFolder(path=str(folder)).documents()] == ["Queues", "", "Only a title"]


def test_ids_that_became_numbers_are_the_same_ids(folder):
    lines(folder / "corpus.jsonl", [{"_id": 1.0, "text": "Two ends."}, {"_id": 2, "text": "Heaps."}])
    lines(folder / "queries.jsonl", [{"_id": 7.0, "text": "question 7"}, {"_id": 8, "text": "question 8"}])
    (folder / "qrels" / "test.tsv").write_text("7\t1\t1\n8.0\t2.0\t1\n")
    assert keys(BeirFolder(path=str(folder), train="none")) == ["test/7/1", "test/8/2"]


def test_whole_numbers_are_grades_however_high(folder):
    (folder / "qrels" / "test.tsv").write_text("q3\td1\t4\nq4\td2\t5\nq4\td1\t1\n")
    data = BeirFolder(path=str(folder), train="none")
    assert label_scale(list(data.labelled()), data.labels).positive_from == 1


PROBLEMS = [
    (
        "qrels/test.tsv",
        "q5\td1\t1e308",
        r"test.tsv:4: grade '1e308' is not a whole number up to 1,000",
        "labelled",
    ),
    ("corpus.jsonl", "not json", r"corpus.jsonl:24: not JSON", "documents"),
    ("corpus.jsonl", '{"_id": "d1", "text": "x"}', r"corpus.jsonl:24: the _id 'd1' is taken", "documents"),
    ("corpus.jsonl", '{"text": "x"}', r"corpus.jsonl:24: no '_id'", "documents"),
    ("corpus.jsonl", '{"_id": "e"}', r"corpus.jsonl:24: document 'e' has no text", "documents"),
    ("queries.jsonl", '{"_id": "q1", "text": "x"}', r"queries.jsonl:8: the _id 'q1' is taken", "labelled"),
    ("queries.jsonl", '{"_id": "q9", "text": ""}', r"queries.jsonl:8: query 'q9' has no text", "labelled"),
    ("qrels/test.tsv", "q9\td1\t1", r"test.tsv:4: query 'q9' is not among the queries", "labelled"),
    ("qrels/test.tsv", "q5\td9\t1", r"test.tsv:4: document 'd9' is not in the corpus", "labelled"),
    ("qrels/test.tsv", "q5\td1\tgood", r"test.tsv:4: grade 'good' is not a whole number", "labelled"),
    ("qrels/test.tsv", "q5\td1\t0.7", r"test.tsv:4: grade '0.7' is not a whole number", "labelled"),
    ("qrels/test.tsv", "q5 d1", r"test.tsv:4: 2 columns; write query-id, corpus-id and score", "labelled"),
]


@pytest.mark.parametrize(("name", "line", "message", "method"), PROBLEMS)
def test_a_bad_line_is_skipped_or_stops_the_run(folder, caplog, name, line, message, method):
    before = len(list(getattr(BeirFolder(path=str(folder)), method)()))
    with (folder / name).open("a") as stream:
        stream.write(f"{line}\n")
    assert len(list(getattr(BeirFolder(path=str(folder)), method)())) == before
    assert message.replace("\\", "") in caplog.text
    with pytest.raises(DataError, match=message):
        list(getattr(BeirFolder(path=str(folder), on_error="fail"), method)())


def test_a_repeated_judgment_counts_once(folder, caplog):
    caplog.set_level("INFO")
    with (folder / "qrels" / "test.tsv").open("a") as stream:
        stream.write("q3\td1\t1\n\n")
    assert len(keys(BeirFolder(path=str(folder)))) == 5
    assert "5 judged pairs of 4 queries; skipped: 1 repeated judgment" in caplog.text


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
@pytest.mark.parametrize("method", ["documents", "labelled", "fingerprint"])
def test_a_missing_file_is_named(folder, name, method):
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing: a BEIR folder holds corpus.jsonl"):
        list(getattr(BeirFolder(path=str(folder)), method)())


def test_missing_training_judgments_name_the_other_ways(folder):
    (folder / "qrels" / "train.tsv").unlink()
    with pytest.raises(DataError, match=r"set dataset.train=synthetic or dataset.train=none"):
        keys(BeirFolder(path=str(folder)))
    assert len(keys(BeirFolder(path=str(folder), train="none"))) == 2


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(DataError, match=r"nowhere is not a folder: check dataset.path"):
        list(BeirFolder(path=str(tmp_path / "nowhere")).documents())


def test_an_empty_corpus_and_no_usable_judgment(folder):
    (folder / "corpus.jsonl").write_text("")
    with pytest.raises(DataError, match="the corpus holds no document with text"):
        list(BeirFolder(path=str(folder)).documents())
    with pytest.raises(DataError, match="no judgment of a relevant document can be used"):
        keys(BeirFolder(path=str(folder)))


def test_a_limit_below_one_is_refused(folder):
    with pytest.raises(ConfigError, match=r"dataset.limit_queries is 0"):
        BeirFolder(path=str(folder), limit_queries=0)


def test_the_fingerprint_follows_the_files_in_use(folder):
    first = BeirFolder(path=str(folder)).fingerprint()
    assert BeirFolder(path=str(folder)).fingerprint() == first
    assert BeirFolder(path=str(folder), train="none").fingerprint() != first
    (folder / "qrels" / "dev.tsv").write_text("q5\td1\t1\n")
    assert BeirFolder(path=str(folder)).fingerprint() != first
