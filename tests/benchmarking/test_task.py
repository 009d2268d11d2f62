"""A task refuses what trec_eval would score as zero without a word."""

from __future__ import annotations

import pytest

from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.errors import DataError


def task(unit: str = "d1", query: str = "q1", grade: int = 1, judged: str | None = None) -> RetrievalTask:
    return RetrievalTask(
        name="kettles",
        corpus=[Chunk("c1", unit, "boil water"), Chunk("c2", "d2", "oil the chain")],
        queries=[Query(query, "hot water?", cluster=unit)],
        qrels={query: {judged or unit: grade}},
        unit="document",
    )


@pytest.mark.parametrize("broken", ["d\0 1", "\0", "d\ud8001"])
@pytest.mark.parametrize("place", ["unit", "query", "judged"])
def test_an_id_that_trec_eval_cuts_off_is_refused(place: str, broken: str) -> None:
    with pytest.raises(DataError, match=r"kettles: the id .* NUL character or half of a surrogate pair"):
        task(**{place: broken})


@pytest.mark.parametrize("grade", [2**31, 10**7, -(10**7)])
def test_a_grade_that_trec_eval_cannot_hold_is_refused(grade: int) -> None:
    with pytest.raises(DataError, match=rf"kettles: the grade of 'd1' for the question 'q1' is {grade}"):
        task(grade=grade)


def test_ids_in_any_script_are_accepted() -> None:
    assert task(unit="Über/Größe ☕.md", query="質問 1").queries[0].id == "質問 1"
