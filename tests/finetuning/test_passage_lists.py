"""Lists of passages for a teacher, and its scores on a common scale."""

from __future__ import annotations

import numpy as np
import pytest

from embexp.data.labels import label_scale
from embexp.data.records import Pair
from embexp.errors import ConfigError, DataError
from embexp.finetuning.hard_negatives import PassagePool, RandomNegatives
from embexp.finetuning.passage_lists import passage_lists, to_unit_range
from embexp.finetuning.teachers import HybridTeacher, Teacher
from embexp.finetuning.training_rows import RowRequest, build_rows
from tests.retrieval.letter_embedder import LetterEmbedder


def pair(query: str, positive: str, number: int) -> Pair:
    return Pair(id=str(number), query=query, positive=positive, document_id=f"d{number}")


# The letters a to h are the vectors; whole words are what BM25 reads.
PAIRS = [
    pair("aab zeta", "zeta aa", 0),
    pair("other ccc", "aabb", 1),
    pair("words fff", "zeta hhh", 2),
    pair("more ggg", "ab", 3),
    pair("again hh", "ggg kettle", 4),
]


def pool(pairs: list[Pair]) -> PassagePool:
    return PassagePool(pairs, is_positive=lambda _: True)


def test_the_model_s_and_bm25_s_best_passages_take_turns() -> None:
    lists = passage_lists(PAIRS[:1], pool(PAIRS), LetterEmbedder(), length=4)

    # "aab zeta" is (3, 1, …, e 1): cosine to "aabb" (2, 2), to "zeta aa" and to "ab" are the highest, and
    # "zeta hhh" alone shares its word.
    assert lists[0][0] == "zeta aa"
    assert set(lists[0][1:3]) == {"aabb", "zeta hhh"}
    assert len(lists[0]) == len(set(lists[0])) == 4


def test_other_answers_of_the_query_are_left_out() -> None:
    pairs = [*PAIRS, pair("aab zeta", "zeta hhh", 5)]
    lists = passage_lists(pairs[:1], pool(pairs), LetterEmbedder(), length=4)

    assert "zeta hhh" not in lists[0]


def test_lists_are_as_long_as_there_are_passages() -> None:
    assert {len(texts) for texts in passage_lists(PAIRS, pool(PAIRS), LetterEmbedder(), length=20)} == {5}


def test_one_passage_is_no_list() -> None:
    with pytest.raises(ConfigError, match="there are 1 training passages: give more documents"):
        passage_lists(PAIRS[:1], pool(PAIRS[:1]), LetterEmbedder(), length=20)


def test_scores_are_clipped_and_brought_to_one_range() -> None:
    scores = [[float(number) for number in range(100)], [50.0] * 99 + [10_000.0]]
    low, high = np.percentile(np.ravel(scores), [1, 99])
    scaled = to_unit_range(scores)

    assert scaled[0, 0] == 0
    assert scaled[1, 99] == 1  # the outlier squeezes nobody
    assert scaled[1, 0] == pytest.approx((50 - low) / (high - low))


def test_few_outliers_are_all_that_differs() -> None:
    assert to_unit_range([[0.0] * 500, [0.0] * 499 + [2.0]])[1, 499] == 1


def test_a_teacher_without_an_opinion_is_refused() -> None:
    with pytest.raises(DataError, match=r"all 4 passages the same score \(0.5\)"):
        to_unit_range([[0.5, 0.5], [0.5, 0.5]])


class Counting(Teacher):
    """Scores a passage by its length, but the second query's all alike."""

    def fingerprint(self) -> str:
        return "counting"

    def scores(self, pairs):
        return np.array([0.0 if query == PAIRS[1].query else len(passage) for query, passage in pairs])


def request(teacher: Teacher, **changes) -> RowRequest:
    passages = pool(PAIRS)
    options = {"pairs": PAIRS, "scale": label_scale(PAIRS), "pool": passages, "max_negatives": 2}
    negatives = RandomNegatives(pool=passages, seed=0)
    return RowRequest(
        **{**options, "negatives": negatives, "teacher": teacher, "embedder": LetterEmbedder(), **changes}
    )


def test_rows_hold_lists_with_scores_from_0_to_1() -> None:
    rows = build_rows("lists", request(Counting()))

    assert list(rows.columns) == ["anchor", "positive", "negative_1", "negative_2", "scores"]
    assert rows.columns["anchor"] == [
        each.query for each in PAIRS if each is not PAIRS[1]
    ]  # it taught nothing
    scores = np.array(rows.columns["scores"])
    assert scores.min() == pytest.approx(2 / 10)  # "ab", of lengths from 0 (the one left out) to 10
    assert scores.max() == 1
    lengths = [len(rows.columns[name][0]) for name in ("positive", "negative_1", "negative_2")]
    assert np.argsort(scores[0]).tolist() == np.argsort(lengths).tolist()


def test_the_count_of_the_trainer_wins_over_that_of_the_loss() -> None:
    assert "negative_2" not in build_rows("lists", request(Counting(), count=1)).columns


def test_lists_without_a_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="give RowRequest an embedder"):
        build_rows("lists", request(HybridTeacher(), embedder=None))
