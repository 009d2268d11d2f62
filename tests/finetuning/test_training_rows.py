from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from embexp.data.labels import label_scale
from embexp.data.records import Pair
from embexp.errors import ConfigError, DataError
from embexp.finetuning.batch_sampler import RowKeys
from embexp.finetuning.hard_negatives import PassagePool
from embexp.finetuning.teachers import CrossEncoderTeacher, Labels
from embexp.finetuning.training_rows import RowRequest, build_rows


def pair(number: int, **changes: object) -> Pair:
    values = {
        "id": f"p{number}",
        "query": f"q{number}",
        "positive": f"t{number}",
        "document_id": f"d{number}",
    }
    return Pair(**{**values, **changes})


class Numbered:
    """Stands in for mining: the negatives of a query are called after it."""

    def draw(self, anchors: Sequence[Pair], count: int) -> list[tuple[str, ...]]:
        return [tuple(f"n{rank} of {anchor.query}" for rank in range(count)) for anchor in anchors]


def request(pairs: Sequence[Pair], **changes: object) -> RowRequest:
    scale = label_scale(pairs)
    pool = PassagePool(pairs, is_positive=lambda pair: scale.is_positive(pair.label))
    return replace(RowRequest(pairs=pairs, scale=scale, pool=pool, negatives=Numbered()), **changes)


def test_pairs_are_query_and_positive():
    rows = build_rows("pairs", request([pair(0), pair(1)]))
    assert rows.columns == {"anchor": ["q0", "q1"], "positive": ["t0", "t1"]}
    assert rows.dataset().column_names == ["anchor", "positive"]
    assert rows.lengths == [2, 2]


def test_low_labels_are_never_positives_but_negatives_of_their_query():
    pairs = [pair(0, label=2.0), pair(1, query="q0", label=0.0), pair(2, label=1.0)]
    assert build_rows("pairs", request(pairs)).columns == {"anchor": ["q0", "q2"], "positive": ["t0", "t2"]}
    rows = build_rows("pairs", request(pairs, count=1))
    assert rows.columns["negative_1"] == ["t1", "n0 of q2"]


def test_a_pair_that_stands_twice_is_one_row():
    assert len(build_rows("pairs", request([pair(0), pair(0, id="again"), pair(1)]))) == 2


def test_a_pair_is_read_as_often_as_its_weight_says():
    rows = build_rows("pairs", request([pair(0, weight=3), pair(1)]))
    assert rows.columns["anchor"] == ["q0", "q0", "q0", "q1"]
    assert len(build_rows("pairs", request([pair(0, weight=3), pair(1)], max_pairs=2))) == 2


def test_a_labelled_pair_is_read_as_often_as_its_weight_says():
    rows = build_rows("scored", request([pair(0, label=0.2, weight=2), pair(1, label=0.9)]))
    assert rows.columns["text_a"] == ["q0", "q0", "q1"]


def test_negatives_that_all_pairs_list_are_used():
    pairs = [pair(0, negatives=("a", "b")), pair(1, negatives=("c", "d", "e"))]
    rows = build_rows("pairs", request(pairs))
    assert rows.columns["negative_1"] == ["a", "c"]
    assert rows.columns["negative_2"] == ["b", "d"]
    assert "negative_3" not in rows.columns


def test_at_most_four_given_negatives_are_used_unasked():
    pairs = [pair(n, negatives=tuple(f"x{n}.{rank}" for rank in range(30))) for n in range(2)]
    assert list(build_rows("pairs", request(pairs)).columns)[-1] == "negative_4"


def test_a_loss_limits_the_negatives():
    pairs = [pair(n, negatives=("a", "b")) for n in range(2)]
    assert list(build_rows("pairs", request(pairs, max_negatives=1)).columns) == [
        "anchor",
        "positive",
        "negative_1",
    ]


def test_negatives_that_only_some_pairs_list_are_reported(caplog):
    pairs = [pair(0, negatives=("a",)), pair(1)]
    assert "negative_1" not in build_rows("pairs", request(pairs)).columns
    assert "1 of 2 training pairs list negatives" in caplog.text
    assert build_rows("pairs", request(pairs, count=1)).columns["negative_1"] == ["a", "n0 of q1"]
    assert "negative_1" not in build_rows("pairs", request(pairs, count=0)).columns


def test_listed_negatives_come_before_drawn_ones():
    rows = build_rows("pairs", request([pair(0, negatives=("a",)), pair(1)], count=2))
    assert rows.columns["negative_1"] == ["a", "n0 of q1"]
    assert rows.columns["negative_2"] == ["n0 of q0", "n1 of q1"]


def test_a_given_negative_that_answers_the_query_is_dropped():
    pairs = [pair(0, negatives=("t1", "other")), pair(1, query="q0", negatives=("other",))]
    assert build_rows("pairs", request(pairs)).columns["negative_1"] == ["other", "other"]


def test_rows_contain_their_passages_and_exclude_all_answers_to_their_query():
    pairs = [pair(0, query_id="q", chunk_id="c0", negatives=("n",)), pair(1, query_id="q", negatives=("n",))]
    rows = build_rows("pairs", request(pairs, count=1))
    assert rows.keys[0] == RowKeys(
        contains=("id:q", "text:q0", "chunk:c0", "text:t0", "text:n"),
        excludes=("id:q", "text:q0", "chunk:c0", "text:t0", "text:t1"),
    )
    assert rows.keys[1].contains[:3] == ("id:q", "text:q1", "document:d1")


@pytest.mark.parametrize(
    ("distinct", "shared"), [("text", ()), ("chunk", ("chunk:c",)), ("document", ("document:d0",))]
)
def test_what_rows_must_not_share_can_be_chosen(distinct, shared):
    rows = build_rows("pairs", request([pair(0, chunk_id="c")], distinct=distinct))
    assert rows.keys[0].contains == ("id:p0", "text:q0", *shared, "text:t0")


def test_triplets_have_a_row_for_each_negative():
    rows = build_rows("triplets", request([pair(0, negatives=("a", "b")), pair(1, negatives=("c",))]))
    assert rows.columns == {
        "anchor": ["q0", "q0", "q1"],
        "positive": ["t0", "t0", "t1"],
        "negative": ["a", "b", "c"],
    }
    assert rows.keys == [RowKeys()] * 3


@pytest.mark.parametrize(("count", "expected"), [(None, 1), (0, 1), (1, 1), (3, 3)])
def test_triplets_without_negatives_get_them(count, expected):
    rows = build_rows("triplets", request([pair(0)], count=count))
    assert rows.columns["negative"] == [f"n{rank} of q0" for rank in range(expected)]


def test_scores_are_labels_between_0_and_1():
    rows = build_rows(
        "scored", request([pair(0, label=0.0), pair(1, label=2.5), pair(2, label=5.0), pair(3)])
    )
    # 2.5 of 5 is a half; a pair without a label is a plain positive.
    assert rows.columns["score"] == [0.0, 0.5, 1.0, 1.0]
    assert rows.columns["text_a"] == ["q0", "q1", "q2", "q3"]
    assert rows.columns["text_b"] == ["t0", "t1", "t2", "t3"]


def test_plain_pairs_get_negatives_of_score_0():
    rows = build_rows("scored", request([pair(0), pair(1)]))
    assert list(zip(*rows.columns.values(), strict=True)) == [
        ("q0", "t0", 1.0),
        ("q1", "t1", 1.0),
        ("q0", "n0 of q0", 0.0),
        ("q1", "n0 of q1", 0.0),
    ]


def test_given_negatives_score_0_and_are_enough():
    rows = build_rows("scored", request([pair(0, negatives=("a",)), pair(1)]))
    assert list(zip(*rows.columns.values(), strict=True)) == [
        ("q0", "t0", 1.0),
        ("q0", "a", 0.0),
        ("q1", "t1", 1.0),
    ]


def test_labelled_pairs_get_negatives_when_asked():
    rows = build_rows("scored", request([pair(0, label=1.0), pair(1, label=0.0)], count=2))
    assert rows.columns["text_b"] == ["t0", "t1", "n0 of q0", "n1 of q0"]


def test_binary_rows_are_matches_from_the_threshold_on():
    rows = build_rows("binary", request([pair(0, label=0.4), pair(1, label=0.6), pair(2, negatives=("a",))]))
    assert rows.columns["label"] == [0, 1, 1, 0]
    assert rows.columns["text_b"] == ["t0", "t1", "t2", "a"]


def test_plain_pairs_get_binary_negatives():
    assert build_rows("binary", request([pair(0)])).columns["label"] == [1, 0]


def test_classes_are_the_distinct_labels_in_rising_order():
    pairs = [pair(0, label=1.0), pair(1, label=-1.0), pair(2, label=0.0), pair(3, label=1.0)]
    rows = build_rows("classes", request(pairs))
    assert rows.columns["label"] == [2, 0, 1, 2]
    assert rows.columns["text_a"] == ["q0", "q1", "q2", "q3"]
    assert rows.columns["text_b"] == ["t0", "t1", "t2", "t3"]
    assert rows.outputs == 3


def test_plain_pairs_make_two_classes():
    rows = build_rows("classes", request([pair(0), pair(1)]))
    assert list(zip(*rows.columns.values(), strict=True)) == [
        ("q0", "t0", 1),
        ("q1", "t1", 1),
        ("q0", "n0 of q0", 0),
        ("q1", "n0 of q1", 0),
    ]
    assert rows.outputs == 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.25, 1.0], r"scores such as 0.25: choose loss=cosent"),
        (map(float, range(101)), r"101 different labels, more than 100: choose loss=cosent"),
    ],
)
def test_labels_that_are_no_classes_are_named(labels, message):
    pairs = [pair(number, label=label) for number, label in enumerate(labels)]
    with pytest.raises(ConfigError, match=message):
        build_rows("classes", request(pairs))


def test_no_positive_is_an_error_with_a_remedy():
    pairs = [pair(n, label=0.0) for n in range(3)]
    with pytest.raises(
        ConfigError, match=r"None of the 3 training pairs is a positive.*dataset.positive_from"
    ):
        build_rows("pairs", request(pairs))


@pytest.mark.parametrize("kind", ["scored", "binary"])
def test_scores_without_contrast_are_an_error_with_a_remedy(kind):
    with pytest.raises(ConfigError, match="All 2 training pairs have the label 0"):
        build_rows(kind, request([pair(0, label=0.0), pair(1, label=0.0)]))


def test_unknown_columns_are_an_error_that_names_the_known_ones():
    with pytest.raises(
        ConfigError,
        match=r"'quadruplets' columns.*binary, classes, lists, pairs, ranked, scored, targets, "
        r"triplets, vectors",
    ):
        build_rows("quadruplets", request([pair(0)]))


def sampled(seed: int, most: int | None = 10) -> list[str]:
    rows = build_rows("pairs", request([pair(n) for n in range(100)], max_pairs=most, seed=seed))
    return rows.columns["anchor"]


def test_a_sample_is_seeded_ordered_and_loud(caplog):
    chosen = sampled(seed=1)
    numbers = [int(query[1:]) for query in chosen]
    assert numbers == sorted(set(numbers))
    assert len(chosen) == 10
    assert chosen == sampled(seed=1)
    assert chosen != sampled(seed=2)
    assert "Training on 10 of 100 positive pairs" in caplog.text
    assert "trainer.max_pairs=null" in caplog.text


@pytest.mark.parametrize("most", [None, 100, 101])
def test_nothing_is_sampled_where_all_fit(most, caplog):
    assert sampled(seed=0, most=most) == [f"q{n}" for n in range(100)]
    assert not caplog.text


@pytest.mark.parametrize(("kind", "rows"), [("pairs", 2), ("triplets", 2), ("scored", 4), ("binary", 4)])
def test_a_sample_counts_positives(kind, rows):
    assert len(build_rows(kind, request([pair(n) for n in range(9)], max_pairs=2))) == rows


class Lengths:
    """Scores a pair by the length of both texts; its vectors hold the length and 1."""

    def __init__(self, wrong: float | None = None) -> None:
        self.wrong = wrong

    def fingerprint(self) -> str:
        return "lengths"

    def scores(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        return np.array([self.wrong or len(query + passage) for query, passage in pairs], dtype=np.float32)

    def vectors(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        both = [[[len(query), 1, 0], [len(passage), 0, 1]] for query, passage in pairs]
        return np.array(both, dtype=np.float32)


def test_a_teacher_scores_the_positive_and_the_negatives():
    pairs = [pair(0, negatives=("abc", "abcd")), pair(1, negatives=("x", "yz", "abcdef"))]
    rows = build_rows("ranked", request(pairs, teacher=Lengths()))
    assert rows.columns == {
        "anchor": ["q0", "q1"],
        "positive": ["t0", "t1"],
        "negative_1": ["abc", "x"],
        "negative_2": ["abcd", "yz"],
        # The third negative of q1 has no counterpart in the other row.
        "scores": [[4.0, 5.0, 6.0], [4.0, 3.0, 4.0]],
    }
    assert rows.keys == [RowKeys()] * 2
    assert rows.outputs is None


def test_ranked_rows_get_negatives_where_pairs_list_none():
    rows = build_rows("ranked", request([pair(0), pair(1)], teacher=Lengths(), count=2))
    assert rows.columns["negative_2"] == ["n1 of q0", "n1 of q1"]
    assert np.array(rows.columns["scores"]).shape == (2, 3)


def test_labels_of_one_query_s_passages_serve_as_scores():
    pairs = [
        pair(0, query="q", label=1.0),
        pair(1, query="q", label=4.0),
        pair(2, query="q", label=2.0),
        pair(3, label=4.0),  # the only passage of its query
    ]
    rows = build_rows("ranked", request(pairs, teacher=Labels(scale=20)))
    assert rows.columns["anchor"] == ["q", "q"]
    assert rows.columns["positive"] == ["t1", "t1"]
    found = dict(zip(rows.columns["negative_1"], rows.columns["scores"], strict=True))
    # 4 of 4 is 1, times 20; 1 of 4 is 5, 2 of 4 is 10.
    assert found == {"t0": [20.0, 5.0], "t2": [20.0, 10.0]}


def test_labels_fill_as_many_negatives_as_are_asked_for():
    pairs = [pair(number, query="q", label=float(number)) for number in range(6)]
    rows = build_rows("ranked", request(pairs, teacher=Labels(scale=5), count=2))
    # Five others make two rows of two; the fifth is left over.
    assert rows.columns["positive"] == ["t5", "t5"]
    assert [scores[0] for scores in rows.columns["scores"]] == [5.0, 5.0]
    assert [len(scores) for scores in rows.columns["scores"]] == [3, 3]


@pytest.mark.parametrize(
    "pairs", [[pair(0), pair(1)], [pair(0, query="q", label=1.0), pair(1, query="q", label=1.0)]]
)
def test_labels_that_cannot_stand_in_for_a_teacher_are_named(pairs):
    with pytest.raises(ConfigError, match=r"no query has 2 passages with different labels.*cross_encoder"):
        build_rows("ranked", request(pairs, teacher=Labels()))


def test_labels_score_nothing_else():
    with pytest.raises(ConfigError, match=r"cannot score 1 other pairs.*cross_encoder=cross_encoder"):
        Labels().scores([("q", "t")])


@pytest.mark.parametrize("kind", ["ranked", "lists", "vectors"])
def test_a_missing_teacher_is_named(kind):
    with pytest.raises(ConfigError, match=r"loss.teacher is not set.*teacher@loss.teacher=hybrid, cross_"):
        build_rows(kind, request([pair(0)]))


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_named(wrong):
    with pytest.raises(DataError, match=rf"scores 'q0' with 't0' as {wrong}.*choose another teacher"):
        build_rows("ranked", request([pair(0)], teacher=Lengths(wrong)))


def test_vectors_of_all_pairs_are_learnt_whatever_their_labels():
    pairs = [pair(0, label=0.0), pair(1, query="query", label=1.0)]
    rows = build_rows("vectors", request(pairs, teacher=Lengths()))
    assert rows.columns["anchor"] == ["q0", "query"]
    assert rows.columns["positive"] == ["t0", "t1"]
    assert np.array_equal(rows.columns["label"], [[[2, 1, 0], [2, 0, 1]], [[5, 1, 0], [2, 0, 1]]])
    assert rows.outputs == 3
    assert np.shape(rows.dataset()[0]["label"]) == (2, 3)


def test_a_teacher_without_vectors_is_named():
    for teacher in (Labels(), CrossEncoderTeacher(model="owner/name")):
        name = type(teacher).__name__
        with pytest.raises(ConfigError, match=rf"{name} gives scores only.*bi_encoder.*margin_mse"):
            build_rows("vectors", request([pair(0)], teacher=teacher))


@pytest.mark.parametrize(
    ("columns", "most", "said"),
    [
        ("pairs", 1, "asks for 3 negatives of each positive, and this loss reads 1"),
        ("pairs", None, ""),
        ("triplets", None, ""),
        ("scored", None, ""),
    ],
)
def test_fewer_negatives_than_asked_for_are_told(columns, most, said, caplog):
    build_rows(columns, request([pair(0), pair(1)], count=3, max_negatives=most))
    assert said in caplog.text
    assert bool(said) == ("trainer.hard_negatives=3" in caplog.text)
