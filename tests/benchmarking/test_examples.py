from __future__ import annotations

from dataclasses import replace

import pytest

from embexp.benchmarking.examples import biggest_changes, snippet
from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.task import RetrievalTask
from embexp.retrieval.index import Hit

Rankings = dict[str, dict[str, list[Hit]]]


def test_wins_come_first_then_losses_and_unchanged_questions_stay_out(
    task: RetrievalTask, scores: dict[str, Scores], rankings: Rankings
) -> None:
    found = biggest_changes(task, scores, rankings, metric="ndcg@10")
    assert [(example.query_id, example.delta) for example in found] == [
        ("q1", 1.0),
        ("q4", 0.5),
        ("q3", -0.5),
    ]
    assert found[0].query == "question 1"


def test_the_answers_ranks_and_moves_are_told(
    task: RetrievalTask, scores: dict[str, Scores], rankings: Rankings
) -> None:
    win, _, loss = biggest_changes(task, scores, rankings, metric="ndcg@10", depth=2)
    assert (win.answer_before, win.answer_after) == (3, 1)
    assert (loss.answer_before, loss.answer_after) == (1, None)
    assert [(shown.rank, shown.title, shown.relevant, shown.move) for shown in win.tuned] == [
        (1, "d1", True, 2),
        (2, "Title 2", False, -1),
    ]
    assert [shown.move for shown in loss.tuned] == [1, 1]
    assert win.untuned[0].text == "text of d2 part 0"


def test_chunks_are_shown_by_themselves(task: RetrievalTask, scores: dict[str, Scores]) -> None:
    by_chunk = replace(task, unit="chunk", qrels={query: {"c11": 1} for query in task.qrels})
    rankings = {system: {query: [Hit("c11", 1.0)] for query in task.qrels} for system in ("untuned", "tuned")}
    win = biggest_changes(by_chunk, scores, rankings, metric="ndcg@10", count=1)[0]
    assert (win.tuned[0].text, win.tuned[0].relevant) == ("text of d1 part 1", True)


def test_count_limits_each_side(task: RetrievalTask, scores: dict[str, Scores], rankings: Rankings) -> None:
    found = biggest_changes(task, scores, rankings, metric="ndcg@10", count=1)
    assert [example.query_id for example in found] == ["q1", "q3"]


@pytest.mark.parametrize(
    ("text", "expected"), [("a\n b", "a b"), ("abc def ghi", "abc …"), ("abcdef", "abcdef")]
)
def test_a_snippet_is_one_line_cut_at_a_word(text: str, expected: str) -> None:
    assert snippet(text, 6) == expected
