import logging

import pytest

from embexp.benchmarking.beir import BeirTask
from embexp.benchmarking.held_out import HeldOut
from embexp.data.labels import LabelSettings
from embexp.data.records import Chunk, Document, Pair
from embexp.errors import ConfigError, DataError

CHUNKS = [
    Chunk("c0", "d0", "A deque is a queue. It has two ends.", "Deques", 0),
    Chunk("c1", "d0", "More on it.", "Deques > Their limits", 1),
    Chunk("c2", "d1", "A list is a sequence.", "Lists", 0),
]


def pair(name, document="d0", **fields):
    return Pair(id=name, query=f"question {name}", positive="text", document_id=document, **fields)


def held_out(pairs, *, unit="document", chunks=CHUNKS, **settings):
    return HeldOut(**settings).task(chunks, pairs, unit=unit)


def test_judges_documents():
    task = held_out([pair("p0"), pair("p1", "d1", query_type="summary")])
    assert task.qrels == {"p0": {"d0": 1}, "p1": {"d1": 1}}
    assert [(query.id, query.text, query.cluster, query.query_type) for query in task.queries] == [
        ("p0", "question p0", "d0", "human"),
        ("p1", "question p1", "d1", "summary"),
    ]
    assert (task.name, task.unit, list(task.corpus)) == ("heldout", "document", CHUNKS)


def test_judges_chunks():
    task = held_out([pair("p0", chunk_id="c1")], unit="chunk")
    assert task.qrels == {"p0": {"c1": 1}}
    assert task.queries[0].cluster == "d0"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((None, None), {"d0": 1, "d1": 1}),
        ((2.0, 0.0), {"d0": 2, "d1": 0}),
        ((3.0, -1.0), {"d0": 3, "d1": 0}),
        ((0.9, 0.3), {"d0": 1, "d1": 0}),  # similarities on [0, 1]: relevant from 0.5
        ((4.5, 2.4), {"d0": 1, "d1": 0}),  # on [0, 5]: relevant from 2.5
    ],
)
def test_labels_become_grades(labels, expected):
    pairs = [pair(f"p{at}", f"d{at}", query_id="q", label=label) for at, label in enumerate(labels)]
    task = held_out(pairs)
    assert task.qrels == {"q": expected}
    assert len(task.queries) == 1


def test_a_document_takes_its_best_grade_and_the_first_relevant_pair_is_its_cluster():
    pairs = [
        pair("a", "d1", query_id="q", label=0.0),
        pair("b", "d0", query_id="q", label=1.0),
        pair("c", "d0", query_id="q", label=2.0),
    ]
    task = held_out(pairs)
    assert task.qrels == {"q": {"d1": 0, "d0": 2}}
    assert task.queries[0].cluster == "d0"


def test_a_cut_out_sentence_is_not_in_the_corpus():
    question = pair("p", chunk_id="c0", query_type="sentence")
    task = held_out(
        [Pair(**{**fields(question), "query": "A deque is a queue.", "positive": "Deques\nIt has two ends."})]
    )
    assert task.corpus[0] == Chunk("c0", "d0", "Deques\nIt has two ends.", "", 0)
    assert list(task.corpus[1:]) == CHUNKS[1:]


def test_a_title_that_is_asked_is_taken_off_all_chunks_of_its_document():
    question = Pair(
        "p", "deques", "A deque is a queue. It has two ends.", "d0", chunk_id="c0", query_type="title"
    )
    assert [chunk.title for chunk in held_out([question]).corpus] == ["", "", "Lists"]


def test_a_question_that_was_not_cut_out_changes_nothing():
    asked = [pair("p", chunk_id="c0", query_type="keywords"), pair("h", "d1", chunk_id="c2")]
    assert list(held_out(asked).corpus) == CHUNKS


def fields(item):
    return {name: getattr(item, name) for name in Pair.__slots__}


def test_limit_keeps_the_same_questions_whatever_the_order_with_all_judgments():
    pairs = [pair(f"p{at}-{d}", f"d{d}", query_id=f"q{at}") for at in range(10) for d in range(2)]
    task = held_out(pairs, limit=4)
    assert {query.id for query in held_out(pairs[::-1], limit=4).queries} == set(task.qrels)
    assert all(len(grades) == 2 for grades in task.qrels.values())
    assert len(task.queries) == 4


def test_questions_without_a_relevant_document_are_left_out_and_counted(caplog):
    with caplog.at_level(logging.WARNING):
        task = held_out([pair("p0", label=0.0), pair("p1", label=1.0)])
    assert [query.id for query in task.queries] == ["p1"]
    assert "1 questions have no relevant document" in caplog.text


@pytest.mark.parametrize(
    ("pairs", "chunks", "unit", "message"),
    [
        ([], CHUNKS, "document", "has no questions"),
        ([pair("p")], CHUNKS[:2], "document", "has 1 document: retrieval needs two"),
        ([pair("p")], [], "document", "has 0 document"),
        ([pair("p", "d7"), pair("q")], CHUNKS, "document", "1 heldout pairs judge a document .* 'd7'"),
        ([pair("p", chunk_id="c9")], CHUNKS, "chunk", "judge a chunk that is not in the corpus"),
        ([pair("p", label=0.0)], CHUNKS, "document", "None of the heldout questions has a relevant passage"),
    ],
)
def test_refuses_a_task_that_cannot_be_scored(pairs, chunks, unit, message):
    with pytest.raises(DataError, match=message):
        held_out(pairs, unit=unit, chunks=chunks)


class Outside:
    name = "outside"
    unit = "document"
    labels = LabelSettings()

    def __init__(self, pairs):
        self._pairs = pairs

    def fingerprint(self):
        return "x"

    def documents(self):
        yield Document("a", "Text of a.", "A")
        yield Document("b", "Text of b.")

    def labelled(self):
        yield from self._pairs


def test_beir_asks_its_own_test_questions_of_its_own_corpus():
    pairs = [pair("t", "a", split="train"), pair("p", "b", split="test"), pair("n", "a")]
    task = BeirTask(dataset=Outside(pairs)).task(CHUNKS, [pair("other")], unit="chunk")
    assert task.qrels == {"p": {"b": 1}, "n": {"a": 1}}
    assert [(chunk.document_id, chunk.passage) for chunk in task.corpus] == [
        ("a", "A\nText of a."),
        ("b", "Text of b."),
    ]
    assert (task.name, task.unit) == ("beir", "document")


def test_beir_without_test_questions():
    with pytest.raises(DataError, match=r"outside has no test question: add qrels/test\.tsv"):
        BeirTask(dataset=Outside([pair("t", "a", split="train")])).task([], [], unit="document")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: HeldOut(limit=0), "benchmark.limit is 0"),
        (lambda: BeirTask(dataset=Outside([]), limit=-1), "benchmark.limit is -1"),
    ],
)
def test_refuses_settings_that_cannot_work(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
