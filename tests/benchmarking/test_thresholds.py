"""The score below which there is probably no answer, on examples that can be checked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from embexp.benchmarking.task import Query, RetrievalTask
from embexp.benchmarking.thresholds import (
    AskedTwice,
    ScoreThreshold,
    ThresholdPoint,
    ask_twice,
    measure_threshold,
    recommend,
)
from embexp.data.records import Chunk
from tests.retrieval.letter_embedder import LetterEmbedder


def group(count: int, score: float, unanswerable: float, *, right: int = 0) -> list[AskedTwice]:
    """Questions with the same scores, of which the first ``right`` have a right first hit."""
    return [AskedTwice("", score, number < right, unanswerable) for number in range(count)]


def spread(asked: list[AskedTwice], documents: int) -> list[AskedTwice]:
    """Give the questions one source document after the other, in turn."""
    return [
        AskedTwice(f"d{number % documents}", each.score, each.right, each.unanswerable)
        for number, each in enumerate(asked)
    ]


MADE = spread(
    [*group(10, 0.8, 0.3, right=10), *group(6, 0.6, 0.5, right=4), *group(4, 0.4, 0.2)], documents=10
)


def test_the_threshold_tells_most_questions_with_an_answer_from_those_without() -> None:
    # Scores .2 .3 .4 .5 .6 .8: thresholds .25 .35 .45 .55 .7. They lie above the score without the answer,
    # and not above the score with it, for 4, 10 + 4, 10, 10 + 6 and 10 questions: .55 is best.
    found = recommend(MADE, model="tuned")
    assert (found.queries, found.clusters, found.reason) == (20, 10, "")
    assert found.threshold == pytest.approx(0.55)
    # 10 + 6 of 20 are answered, 10 + 4 of these 16 rightly; no score without an answer reaches .55.
    assert found.at == ThresholdPoint(pytest.approx(0.55), precision=14 / 16, answered=0.8, refused=1.0)


def test_the_curve_spans_all_scores_in_round_steps() -> None:
    # From .2 to .8 in about 16 steps of at least .0375: steps of .05.
    curve = {each.threshold: each for each in recommend(MADE, model="tuned").curve}
    assert list(curve) == [pytest.approx(0.2 + 0.05 * step) for step in range(13)]
    assert curve[0.2] == ThresholdPoint(0.2, precision=14 / 20, answered=1.0, refused=0.0)
    assert curve[0.4] == ThresholdPoint(0.4, precision=14 / 20, answered=1.0, refused=14 / 20)
    assert curve[0.65] == ThresholdPoint(0.65, precision=1.0, answered=0.5, refused=1.0)


def test_of_equally_good_thresholds_the_middle_one_is_recommended() -> None:
    # All questions are told apart by .15 .25 .35 .45 .55, between u = .1 and s = .6; the middle is .35.
    asked = spread([*group(18, 0.6, 0.1), *group(2, 0.6, 0.1)], documents=10)
    more = [AskedTwice("d0", 0.7, False, 0.7), AskedTwice("d0", 0.2, False, 0.2)]
    others = [AskedTwice("d0", score, False, score) for score in (0.3, 0.4, 0.5)]
    assert recommend([*asked, *more, *others], model="tuned").threshold == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("low", "interval"),
    [
        # Of 20 documents, ``low`` prefer .35 and the others .55. A resample chooses .35 if it draws 10 or
        # more of the former: with chance .014 for 5 of 20 (below 2.5%), and .122 for 7 of 20.
        (0, (0.55, 0.55)),
        (5, (0.55, 0.55)),
        (7, (0.35, 0.55)),
    ],
)
def test_the_interval_draws_documents(low: int, interval: tuple[float, float]) -> None:
    asked = spread([*group(low, 0.4, 0.3), *group(20 - low, 0.6, 0.5)], documents=20)
    assert recommend(asked, model="tuned").interval == pytest.approx(interval)


def test_the_same_seed_gives_the_same_result() -> None:
    assert recommend(MADE, model="tuned", seed=3) == recommend(MADE, model="tuned", seed=3)


def test_scores_that_tell_nothing_give_no_threshold() -> None:
    asked = spread([AskedTwice("", 0.1 + number / 100, True, 0.1 + number / 100) for number in range(20)], 20)
    found = recommend(asked, model="tuned")
    assert (found.threshold, found.interval, found.at, found.curve) == (None, None, None, ())
    assert found.reason.startswith("every question has the same best score with its documents and without")


CORPUS = [
    Chunk("c1", "d1", "a"),
    Chunk("c2", "d1", "ab"),
    Chunk("c3", "d2", "b"),
    Chunk("c4", "d3", "aab"),
    Chunk("c5", "d4", "a"),
]
QUERIES = [Query("q1", "a", "d1"), Query("q2", "b", "d3")]


def test_each_question_is_asked_without_the_documents_that_answer_it(tmp_path: Path) -> None:
    # q1: d1 answers with cosine 1. Without d1 and its copy d4, "aab" is best: 2 / sqrt(5).
    # q2: d2 has cosine 1, but d3 is the answer: a wrong hit with it and without it.
    qrels = {"q1": {"d1": 1}, "q2": {"d3": 2, "d2": 0}}
    task = RetrievalTask("dev", CORPUS, QUERIES, qrels, "document", copies={"d4": "d1"})
    first, second = ask_twice(task, LetterEmbedder(), folder=tmp_path)
    assert (first.cluster, first.score, first.right) == ("d1", pytest.approx(1.0), True)
    assert first.unanswerable == pytest.approx(2 / 5**0.5, abs=1e-5)
    assert second == AskedTwice("d3", pytest.approx(1.0), False, pytest.approx(1.0))


def test_where_chunks_are_judged_their_whole_document_is_removed(tmp_path: Path) -> None:
    # c2 answers q1; c1, of the same document, is the first hit: wrong, and gone once d1 is removed.
    task = RetrievalTask("dev", CORPUS[:4], QUERIES[:1], {"q1": {"c2": 1}}, "chunk")
    (asked,) = ask_twice(task, LetterEmbedder(), folder=tmp_path)
    assert (asked.score, asked.right) == (pytest.approx(1.0), False)
    assert asked.unanswerable == pytest.approx(2 / 5**0.5, abs=1e-5)


def test_a_question_without_any_other_document_is_not_asked(tmp_path: Path) -> None:
    task = RetrievalTask("dev", CORPUS[:3], QUERIES[:1], {"q1": {"d1": 1, "d2": 1}}, "document")
    assert ask_twice(task, LetterEmbedder(), folder=tmp_path) == []


@pytest.mark.parametrize(("questions", "documents"), [(0, 0), (19, 19), (20, 9)])
def test_a_dev_set_that_is_too_small_says_so(questions: int, documents: int, tmp_path: Path) -> None:
    queries = [Query(f"q{number}", "a", f"d{number % documents}") for number in range(questions)]
    qrels = {query.id: {"d1": 1} for query in queries}
    task = RetrievalTask("dev", CORPUS, queries, qrels, "document") if questions else None
    found = measure_threshold(task, LetterEmbedder(), model="tuned", folder=tmp_path)
    assert found == ScoreThreshold("tuned", questions, documents, reason=found.reason)
    assert found.reason.startswith(
        f"{questions} dev questions from {documents} documents are too few for a threshold, which takes 20 "
        "questions from 10 documents"
    )
