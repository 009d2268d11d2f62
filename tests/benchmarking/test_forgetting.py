"""The two halves of a general set."""

from __future__ import annotations

import pytest

from embexp.benchmarking.forgetting import general_set
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.errors import DataError


class General:
    """A benchmark of ``documents`` passages, each with two questions."""

    def __init__(self, documents: int) -> None:
        self.documents = documents

    def task(self, chunks, pairs, *, unit, scale=None):
        names = [f"d{at}" for at in range(self.documents)]
        return RetrievalTask(
            name="general",
            corpus=[Chunk(id=f"c-{name}", document_id=name, text=f"about {name}") for name in names],
            queries=[Query(f"q-{name}-{ask}", f"{ask} {name}", name) for name in names for ask in (1, 2)],
            qrels={f"q-{name}-{ask}": {name: 1} for name in names for ask in (1, 2)},
            unit="document",
        )


def test_the_guard_and_the_final_questions_share_no_document() -> None:
    found = general_set(General(900), unit="document", seed=0)
    guarded = {query.cluster for query in found.guard.queries}
    told = {query.cluster for query in found.final.queries}
    assert len(found.guard.queries) == 100
    assert not guarded & told
    assert len(told) == 450
    assert len(found.final.corpus) == 900
    assert len(found.guard.corpus) == len(guarded) + 500
    assert found.guard.qrels.keys() == {query.id for query in found.guard.queries}


def test_a_set_of_a_few_documents_is_too_small() -> None:
    with pytest.raises(DataError, match="asks about 3 documents"):
        general_set(General(3), unit="document", seed=0)
