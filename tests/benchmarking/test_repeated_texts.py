from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from embexp.benchmarking.held_out import HeldOut
from embexp.benchmarking.metrics import evaluate, retrieve
from embexp.benchmarking.queries import OwnQueries
from embexp.benchmarking.repeated_texts import copies_in
from embexp.benchmarking.task import RepeatedTexts, RetrievalTask
from embexp.data.datasets.questions import QuestionFile
from embexp.data.records import Chunk, Pair
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.index import Hit

BOATS = ("the red boat sails north", "the blue boat sails south", "the green boat stays in port")


def corpus(*texts: str, title: str = "") -> list[Chunk]:
    return [Chunk(f"c{at}", f"d{at}", text, title) for at, text in enumerate(texts)]


def asked(query: str, document: str, *, name: str = "q", label: float | None = None) -> Pair:
    return Pair(
        id=f"{name}/{document}", query=query, positive="", document_id=document, query_id=name, label=label
    )


class Ranked:
    """An index that returns the chunks of the corpus in a given order."""

    nbytes = 0
    dimension = None

    def __init__(self, *names: str) -> None:
        self.names = names

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        hits = [Hit(name, 1.0 - at / 100) for at, name in enumerate(self.names)]
        return [hits[:k] for _ in queries]


def mrr(task: RetrievalTask, *names: str) -> float:
    rankings = retrieve(task, Ranked(*names), k=100)
    return evaluate(task, rankings, system="s", metrics=["mrr@10"]).mean["mrr@10"]


def test_a_copy_of_the_answer_is_as_right_as_the_answer(caplog):
    chunks = corpus(*BOATS, "The red  boat sails NORTH", BOATS[2])
    task = HeldOut().task(chunks, [asked("where is the red boat?", "d0")], unit="document")
    assert mrr(task, "c3", "c0", "c1", "c2", "c4") == 1.0
    assert mrr(task, "c1", "c3", "c0", "c2", "c4") == 0.5
    # d4 copies d2, which nobody judged: both keep their places.
    assert mrr(task, "c2", "c4", "c0", "c1", "c3") == pytest.approx(1 / 3)
    assert task.repeated == RepeatedTexts(duplicates=2, judged_duplicates=1, merged=True)
    assert "holds 2 copies of documents under other ids, 1 of them copies of what answers" in caplog.text


@pytest.mark.parametrize(("name", "lines"), [("test", 2), ("dev", 0)])
def test_the_dev_task_says_nothing_of_repeated_texts(name, lines, caplog):
    chunks = corpus(*BOATS, BOATS[0])
    with caplog.at_level(logging.DEBUG):
        task = HeldOut(name=name).task(chunks, [asked(BOATS[1], "d0")], unit="document")
    assert (task.repeated.duplicates, task.repeated.self_hits) == (1, 1)
    said = [entry.levelno for entry in caplog.records if "copies of" in entry.msg or "no hit" in entry.msg]
    assert len(said) == 2
    assert sum(level >= logging.INFO for level in said) == lines


def test_copies_can_be_scored_apart():
    chunks = corpus(*BOATS, BOATS[0])
    task = HeldOut(merge_duplicates=False).task(chunks, [asked("the red boat?", "d0")], unit="document")
    assert mrr(task, "c3", "c0", "c1", "c2") == 0.5
    assert task.repeated == RepeatedTexts(duplicates=1, judged_duplicates=1, merged=False)


def test_judgments_of_copies_become_one_with_the_best_grade():
    chunks = corpus(*BOATS, BOATS[0])
    pairs = [asked("red?", "d3", label=1.0), asked("red?", "d0", label=2.0), asked("red?", "d1", label=0.0)]
    task = HeldOut().task(chunks, pairs, unit="document")
    assert task.qrels == {"q": {"d3": 2, "d1": 0}}
    assert task.copies == {"d0": "d3"}


def test_chunks_are_compared_by_title_and_text_and_documents_as_a_whole():
    chunks = [
        Chunk("a0", "a", "same", "Title"),
        Chunk("b0", "b", "same", "title"),
        Chunk("c0", "c", "same", "Other"),
        Chunk("b1", "b", "more"),
        Chunk("x0", "notes.txt", "plain", "notes"),
        Chunk("y0", "old/copy of notes.txt", "plain", "copy of notes"),
    ]
    assert copies_in(chunks, "chunk") == [["a0", "b0"], ["x0", "y0"]]
    assert copies_in(chunks, "document") == [["notes.txt", "old/copy of notes.txt"]]


def test_a_question_that_was_cut_out_is_cut_out_of_copies_too():
    chunks = [
        Chunk("c0", "d0", "Boats float. They sail."),
        Chunk("c1", "d1", "Boats float. They sail."),
        *corpus("x"),
    ]
    pair = Pair(
        id="p",
        query="Boats float.",
        positive="They sail.",
        document_id="d0",
        chunk_id="c0",
        query_type="sentence",
    )
    task = HeldOut().task([*chunks[:2], Chunk("c2", "d2", "x")], [pair], unit="chunk")
    assert [chunk.text for chunk in task.corpus] == ["They sail.", "They sail.", "x"]


@pytest.mark.parametrize("query_id", ["d0", "elsewhere"])
def test_a_question_that_is_a_document_does_not_find_itself(caplog, query_id):
    caplog.set_level("INFO")
    task = HeldOut().task(
        corpus(*BOATS), [asked("The red boat  sails north", "d1", name=query_id)], unit="document"
    )
    assert mrr(task, "c0", "c1", "c2") == 1.0
    assert task.repeated.self_hits == 1
    assert "1 of 1 questions of the heldout benchmark are a document of its corpus" in caplog.text


@pytest.mark.parametrize(
    ("query_id", "question", "own"),
    [
        ("d0", "a wording of its own", True),
        ("7", "a question about trains", False),  # two numberings that meet by accident
        ("7", "where does the red boat sail?", True),
        ("q", "where does the red boat sail?", False),
    ],
)
def test_an_id_shows_that_a_question_is_a_document(query_id, question, own):
    chunks = [Chunk("c0", query_id if query_id.isdigit() else "d0", BOATS[0]), *corpus(*BOATS)[1:]]
    task = HeldOut().task(chunks, [asked(question, "d1", name=query_id)], unit="document")
    assert bool(task.own) == own


def test_a_document_that_is_judged_relevant_stays_a_hit():
    pairs = [asked(BOATS[0], "d0", name="d0"), asked("red?", "d0")]
    task = HeldOut().task(corpus(*BOATS), pairs, unit="document")
    assert not task.own


def test_a_document_in_several_chunks_is_the_question_as_a_whole_only():
    chunks = [Chunk("a", "d0", "the red boat"), Chunk("b", "d0", "sails north"), *corpus(*BOATS)[1:]]
    question = HeldOut().task(chunks, [asked(BOATS[0], "d1")], unit="document")
    assert question.own == {"q": {"d0"}}
    part = HeldOut().task(chunks, [asked("the red boat", "d1")], unit="document")
    assert not part.own


def test_questions_from_a_file_do_not_find_themselves_either(tmp_path):
    (tmp_path / "q.csv").write_text(f"id,text,relevant\nq1,{BOATS[0]},d1\n")
    benchmark = OwnQueries(questions=QuestionFile(path=str(tmp_path / "q.csv")))
    task = benchmark.task(corpus(*BOATS, BOATS[1]), (), unit="document")
    assert task.own == {"q1": {"d0"}}
    assert task.copies == {"d3": "d1"}


def test_without_repeated_texts_the_task_is_what_it_was(tmp_path: Path):
    pairs = [asked("which boat sails south?", "d1")]
    task = HeldOut().task(corpus(*BOATS), pairs, unit="document")
    plain = RetrievalTask(task.name, task.corpus, task.queries, task.qrels, task.unit)
    assert task.fingerprint() == plain.fingerprint()
    index = Bm25Retriever().index(task.corpus, path=tmp_path)
    assert retrieve(task, index) == retrieve(plain, index)
