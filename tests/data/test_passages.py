"""A pair that names a document alone gets the passage that shares most words with its question."""

from __future__ import annotations

import logging

import pytest

from embexp.data.passages import with_passages
from embexp.data.records import Chunk, Pair
from embexp.errors import DataError

CHUNKS = [
    Chunk("c1", "kettle", "The kettle is for water.", title="Kettle"),
    Chunk("c2", "kettle", "To descale the kettle, boil vinegar in it.", title="Kettle"),
    Chunk("c3", "bicycle", "To oil the chain of the bicycle, lift the wheel."),
]


def pair(query: str, document: str, positive: str = "") -> Pair:
    return Pair(id=query, query=query, positive=positive, document_id=document)


@pytest.mark.parametrize(
    ("query", "document", "chunk"),
    [
        ("how do I descale it", "kettle", "c2"),
        ("what is the kettle for", "kettle", "c1"),
        ("entirely other words", "kettle", "c1"),
        ("how do I descale it", "bicycle", "c3"),
    ],
)
def test_the_passage_with_most_shared_words_is_chosen(query: str, document: str, chunk: str) -> None:
    found = next(with_passages([pair(query, document)], CHUNKS))
    texts = {each.id: each.passage for each in CHUNKS}
    assert (found.chunk_id, found.positive) == (chunk, texts[chunk])


def test_pairs_with_a_passage_stay_as_they_are() -> None:
    given = pair("how do I descale it", "kettle", "with vinegar")
    assert list(with_passages([given], CHUNKS)) == [given]


def test_a_document_without_text_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    found = list(with_passages([pair("what rings", "phone"), pair("what boils", "kettle")], CHUNKS))
    assert [each.query for each in found] == ["what boils"]
    assert "1 questions name a document that has no text or was left out, such as 'phone'" in caplog.text
    with pytest.raises(DataError, match="such as 'phone' for 'what rings'"):
        list(with_passages([pair("what rings", "phone")], CHUNKS))
