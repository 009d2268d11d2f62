"""The dev task asks what can be answered."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from embexp.data.records import Chunk, Pair
from embexp.data.splitting import Splits
from embexp.pipeline.finetune import dev_task


def asked(number: int, left: str) -> tuple[Chunk, Pair]:
    """A chunk, and its first sentence as a question, with what is left of the chunk without it."""
    query = f"lists the files of folder {number}"
    text = f"{query} {left}".strip()
    chunk = Chunk(id=f"c{number}", document_id=f"d{number}", text=text)
    pair = Pair(
        id=f"p{number}",
        query=query,
        positive=left,
        document_id=f"d{number}",
        chunk_id=f"c{number}",
        query_type="sentence",
    )
    return chunk, pair


def task_of(*made: tuple[Chunk, Pair]) -> Any:
    data: Any = SimpleNamespace(
        chunks=[chunk for chunk, _ in made], splits=Splits([], [pair for _, pair in made], [])
    )
    return dev_task(data, seed=0, unit="document")


def test_a_question_that_is_all_of_its_passage_is_not_asked(caplog):
    task = task_of(asked(1, "ls prints names"), asked(2, ""), asked(3, "with their sizes"))
    assert [query.id for query in task.queries] == ["p1", "p3"]
    assert set(task.qrels) == {"p1", "p3"}
    assert "1 of 3 dev questions cannot be answered" in caplog.text
    assert "They are left out." in caplog.text


def test_a_document_with_another_chunk_can_be_found():
    other = Chunk(id="c2b", document_id="d2", text="more about this folder")
    first, second = asked(1, "ls prints names"), asked(2, "")
    data: Any = SimpleNamespace(
        chunks=[first[0], second[0], other], splits=Splits([], [first[1], second[1]], [])
    )
    assert len(dev_task(data, seed=0, unit="document").queries) == 2


def test_dev_questions_of_which_none_can_be_answered_are_said(caplog):
    task = task_of(asked(1, ""), asked(2, "ls"))
    assert len(task.queries) == 2
    assert "2 of 2 dev questions cannot be answered" in caplog.text
    assert "Dev cannot choose weights." in caplog.text
