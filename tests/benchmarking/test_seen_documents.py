"""Questions about documents that training pairs come from are scored apart from the others."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.seen_documents import AskedQuestions, asked_questions
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk, Pair, Unit
from embexp.data.splitting import Splits

NAMES = [f"d{n}" for n in range(6)]
CHUNKS = [Chunk(id=f"c-{name}", document_id=name, text=f"text of {name}") for name in NAMES]
VALUES = {"untuned": [0.0, 0.2, 0.4, 0.5, 0.5, 0.5], "tuned": [0.6, 0.6, 0.6, 0.5, 0.4, 0.3]}


def task(unit: Unit = "document", corpus: Sequence[Chunk] = CHUNKS) -> RetrievalTask:
    names = {name: name if unit == "document" else f"c-{name}" for name in NAMES}
    qrels = {f"q-{name}": {names[name]: 1} for name in NAMES}
    return RetrievalTask("own", corpus, [Query(f"q-{n}", f"about {n}", n) for n in NAMES], qrels, unit)


def splits(trained: Sequence[str], asked: Sequence[str] = ()) -> Splits:
    def pairs(names: Sequence[str]) -> list[Pair]:
        return [Pair(id=f"q-{n}", query=f"about {n}", positive="", document_id=n) for n in names]

    return Splits(pairs(trained), [], pairs(asked))


def scores() -> dict[str, Scores]:
    return {
        system: Scores(
            system,
            {"ndcg@10": sum(values) / 6},
            {f"q-{name}": {"ndcg@10": value} for name, value in zip(NAMES, values, strict=True)},
        )
        for system, values in VALUES.items()
    }


def asked(of: RetrievalTask, divided: Splits, chunks: Sequence[Chunk] = CHUNKS) -> AskedQuestions:
    models = ("untuned", "tuned")
    return asked_questions(of, chunks, divided, scores(), models=models, metric="ndcg@10")


@pytest.mark.parametrize("unit", ["document", "chunk"])
def test_both_kinds_have_their_own_means_and_differences(unit: Unit) -> None:
    found = asked(task(unit), splits(["d0", "d1", "d2"]))
    assert found.seen is not None
    assert found.unseen is not None
    assert (found.total, found.seen.queries, found.unseen.queries) == (6, 3, 3)
    assert found.seen.scores["untuned"]["ndcg@10"] == pytest.approx((0.0 + 0.2 + 0.4) / 3)
    assert found.seen.comparison is not None
    assert found.unseen.comparison is not None
    assert found.seen.comparison.delta == pytest.approx((0.6 + 0.4 + 0.2) / 3)
    assert found.unseen.comparison.delta == pytest.approx(-(0.0 + 0.1 + 0.2) / 3)


def test_a_question_that_any_seen_document_answers_is_seen() -> None:
    of = task()
    qrels = {**of.qrels, "q-d5": {"d5": 2, "d0": 1}, "q-d4": {"d4": 1, "d0": 0}}
    of = RetrievalTask("own", CHUNKS, of.queries, qrels, "document")
    found = asked(of, splits(["d0"]))
    assert found.seen is not None
    assert found.seen.queries == 2  # q-d0 and q-d5; a grade of 0 is no answer


def test_a_copy_of_a_seen_document_is_seen() -> None:
    of = RetrievalTask("own", CHUNKS, task().queries, task().qrels, "document", copies={"d1": "d0"})
    found = asked(of, splits(["d1"]))
    assert found.seen is not None
    assert found.seen.queries == 1


def test_ids_of_another_corpus_are_unseen() -> None:
    other = [Chunk(id=f"other-{name}", document_id=name, text="something else") for name in NAMES]
    found = asked(task(corpus=other), splits(NAMES))
    assert found.seen is None
    assert found.unseen is not None
    assert found.unseen.queries == 6


def test_questions_that_training_asks_too_are_counted() -> None:
    divided = splits(["d0", "d1"])
    renamed = [
        Pair(id=f"other-{at}", query=p.query.upper(), positive="", document_id="x")
        for at, p in enumerate(divided.train)
    ]
    assert asked(task(), Splits(renamed, [], [])).trained_on == 2
    assert asked(task(), splits([])).trained_on == 0


def test_whether_the_questions_are_those_of_the_test_split() -> None:
    assert asked(task(), splits(["d0"], NAMES)).held_out
    assert not asked(task(), splits(["d0"], NAMES[:3])).held_out


def test_the_kinds_of_question_are_counted() -> None:
    queries = [Query(f"q-{n}", f"about {n}", n, "summary" if n == "d0" else "sentence") for n in NAMES]
    of = RetrievalTask("own", CHUNKS, queries, task().qrels, "document")
    assert asked(of, splits(["d0"])).kinds == {"sentence": 5, "summary": 1}
