from __future__ import annotations

import pytest

from embexp.benchmarking.queries import OwnQueries
from embexp.data.datasets.questions import Question
from embexp.data.records import Chunk
from embexp.errors import ConfigError, DataError

CHUNKS = [
    Chunk("c1", "kettle.md", "boil"),
    Chunk("c2", "kettle.md", "pour"),
    Chunk("c3", "bicycle.md", "ride"),
]


class Asked:
    def __init__(self, *relevant: dict[str, int]) -> None:
        self.relevant = relevant

    def questions(self) -> list[Question]:
        return [Question(f"q{n}", f"ask {n}", f"q.csv:{n + 2}", ids) for n, ids in enumerate(self.relevant)]


def task(*relevant: dict[str, int], chunks=CHUNKS, **settings):
    return OwnQueries(questions=Asked(*relevant), **settings).task(chunks, (), unit="document")


def test_ids_of_documents_judge_documents() -> None:
    found = task({"kettle.md": 2}, {"c3": 1})
    # One id is a document's, so documents are judged, and c3 stands for its own.
    assert found.unit == "document"
    assert found.qrels == {"q0": {"kettle.md": 2}, "q1": {"bicycle.md": 1}}
    assert [query.cluster for query in found.queries] == ["kettle.md", "bicycle.md"]


def test_ids_of_chunks_judge_chunks() -> None:
    found = task({"c1": 1, "c2": 3}, {"c3": 1})
    assert found.unit == "chunk"
    assert found.qrels == {"q0": {"c1": 1, "c2": 3}, "q1": {"c3": 1}}
    assert [query.cluster for query in found.queries] == ["kettle.md", "bicycle.md"]


def test_several_chunks_of_a_document_give_it_their_best_grade() -> None:
    assert task({"c1": 1, "c2": 3, "bicycle.md": 1}).qrels == {"q0": {"kettle.md": 3, "bicycle.md": 1}}


def test_questions_without_ids_are_yet_to_be_judged() -> None:
    found = task({}, {}, judge_depth=5)
    assert (found.unit, found.qrels, found.judge_depth) == ("chunk", {}, 5)
    assert [query.id for query in found.queries] == ["q0", "q1"]


def test_the_first_questions_of_the_file_are_asked() -> None:
    assert [query.id for query in task({"c1": 1}, {"c2": 1}, {"c3": 1}, limit=2).queries] == ["q0", "q1"]


@pytest.mark.parametrize(
    ("relevant", "message"),
    [
        (
            ({"c1": 1}, {"ketle.md": 1}),
            r"q.csv:3: 'ketle.md' is neither a document nor a chunk of the "
            r"corpus: did you mean 'kettle.md'\?",
        ),
        (({"c1": 1}, {}), r"q.csv:3: this question names no relevant ids, and q.csv:2 does"),
        (({"c1": 0, "c2": 0},), r"q.csv:2: every id of this question has the grade 0"),
    ],
)
def test_a_file_that_cannot_be_scored_names_its_line(relevant, message: str) -> None:
    with pytest.raises(DataError, match=message):
        task(*relevant)


def test_a_corpus_of_one_chunk_is_refused() -> None:
    with pytest.raises(DataError, match=r"has 1 chunk: retrieval needs two"):
        task({"c1": 1}, chunks=CHUNKS[:1])


def test_without_ids_there_must_be_a_judge() -> None:
    benchmark = OwnQueries(questions=Asked({}, {}))
    benchmark.check(CHUNKS, judge=True)
    with pytest.raises(ConfigError, match=r"None of the 2 questions .* llm is not set: .* llm=groq"):
        benchmark.check(CHUNKS, judge=False)


@pytest.mark.parametrize("option", ["limit", "judge_depth"])
def test_numbers_below_one_are_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=rf"benchmark.{option} is 0: give a whole number from 1 to"):
        OwnQueries(questions=Asked({}), **{option: 0})
