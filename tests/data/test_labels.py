from __future__ import annotations

import math

import pytest

from embexp.benchmarking.held_out import HeldOut
from embexp.data.labels import LabelSettings, label_scale, read_label
from embexp.data.records import Chunk, Pair
from embexp.data.splitting import Splits, SplitSettings, split_by_document
from embexp.errors import ConfigError, DataError
from embexp.finetuning.hard_negatives import PassagePool, RandomNegatives
from embexp.finetuning.training_rows import RowRequest, build_rows


def labelled(*labels: float | None) -> list[Pair]:
    return [
        Pair(id=f"p{at}", query="q", positive=f"text {at}", document_id=f"d{at}", query_id="q", label=label)
        for at, label in enumerate(labels)
    ]


@pytest.mark.parametrize(
    ("labels", "low", "high", "positive_from"),
    [
        ((), 0, 1, 1),  # no labels: every pair is a positive whatever the threshold
        ((1.0, 1.0), 0, 1, 1),  # grades of a qrels file
        ((0.0, 1.0), 0, 1, 1),
        ((1.0, 2.0), 0, 2, 1),  # grades above 1: 1 is relevant
        ((0.0, 3.0), 0, 3, 1),
        ((0.1, 0.9), 0, 1, 0.5),  # similarities
        ((0.36, 0.7), 0, 1, 0.5),  # the range of similarities ends at 1, whatever the highest one is
        ((0.0, 0.5, 1.0), 0, 1, 0.5),
        ((0.5, 4.75), 0, 5, 2.5),  # up to the next whole number
        ((1.0, 3.0, 5.0), 0, 5, 3),  # stars: none has 0
        ((1.0, 4.0), 0, 4, 2.5),
        ((0.0, 5.0), 0, 5, 1),  # grades
        ((0.0, 7.0, 10.0), 0, 10, 5),  # marks from 0 to 10
        ((0.0, 35.0, 100.0), 0, 100, 50),  # percentages
        ((0.5, 97.3), 0, 100, 50),
        ((3.2, 23.5), 0, 24, 12),
        ((0.01, 0.3), 0, 1, 0.15),  # none reaches the middle
        ((-0.9, 0.4), -1, 1, 0.2),
        ((-1.0, 0.5, 1.0), -1, 1, 0.5),  # cosines: 0 is unrelated, and half of what is above it relevant
        ((-0.02, 0.9), -1, 1, 0.5),
        ((-2.0, -1.0), -2, 1, 1),
        ((0.0,), 0, 1, 1),
        ((-3.0,), -3, 1, 1),
    ],
)
def test_the_scale_is_read_off_the_labels(labels, low, high, positive_from):
    scale = label_scale(labelled(None, *labels))
    assert (scale.low, scale.high, scale.positive_from) == (low, high, positive_from)


def relevant_in_training(pairs: list[Pair], splits: Splits) -> set[str]:
    scale = splits.label_scale()
    pool = PassagePool(pairs, is_positive=lambda pair: scale.is_positive(pair.label))
    request = RowRequest(pairs=pairs, scale=scale, pool=pool, negatives=RandomNegatives(pool=pool, seed=0))
    return set(build_rows("pairs", request).columns["positive"])


def relevant_in_the_test(pairs: list[Pair], splits: Splits) -> set[str]:
    chunks = [Chunk(f"c{pair.id}", pair.document_id, pair.positive) for pair in pairs]
    task = HeldOut().task(chunks, pairs, unit="document", scale=splits.label_scale())
    passages = {pair.document_id: pair.positive for pair in pairs}
    return {passages[name] for grades in task.qrels.values() for name, grade in grades.items() if grade > 0}


@pytest.mark.parametrize(
    ("labels", "relevant"),
    [
        ((-1.0, 0.2, 1.0), {"text 2"}),
        ((0.36, 0.5, 0.7), {"text 1", "text 2"}),
        ((0.0, 1.0, 2.0), {"text 1", "text 2"}),
        ((0.0, 1.0, None), {"text 1", "text 2"}),
        ((1.5, 2.4, 4.5), {"text 2"}),
    ],
)
def test_training_and_scoring_agree_on_what_is_relevant(labels, relevant):
    pairs = labelled(*labels)
    splits = Splits(pairs, [], pairs)
    assert relevant_in_training(pairs, splits) == relevant_in_the_test(pairs, splits) == relevant


def test_the_parts_of_a_data_set_are_read_on_one_scale():
    train = [
        Pair("a", "q", "low", "d0", label=0.9, split="train"),
        Pair("b", "q", "x", "d2", label=4.6, split="train"),
    ]
    test = [
        Pair("c", "r", "low", "d1", label=0.9, split="test"),
        Pair("d", "r", "y", "d3", label=3.0, split="test"),
    ]
    splits = split_by_document([*train, *test], SplitSettings(dev=0))
    assert (splits.scale.high, splits.scale.positive_from) == (5, 2.5)  # 0.9 alone would be on [0, 1]
    assert relevant_in_training(train, splits) == {"x"}
    assert relevant_in_the_test(test, splits) == {"y"}
    settings = LabelSettings(positive_from=0.9)
    splits = split_by_document([*train, *test], SplitSettings(dev=0), labels=settings)
    assert relevant_in_training(train, splits) == {"x", "low"}
    assert relevant_in_the_test(test, splits) == {"y", "low"}


def test_scores_are_rescaled_and_kept_within_0_and_1():
    scale = label_scale(labelled(1.0, 4.5), LabelSettings(label_range=[1, 5]))
    # (3 - 1) / (5 - 1) = 0.5
    assert [scale.score(label) for label in (1.0, 3.0, 5.0, 0.0, 9.0, None)] == [0.0, 0.5, 1.0, 0.0, 1.0, 1.0]
    assert scale.positive_from == 3


@pytest.mark.parametrize(
    ("labels", "positive_from", "grades"),
    [
        ((0.0, 1.0, 3.0, -1.0), None, [0, 1, 3, 0]),
        ((0.0, 1.0, 3.0, -1.0), 2, [0, 0, 3, 0]),
        ((0.0, 1.0, 3.0, -1.0), 0, [1, 1, 3, 0]),  # a positive is never of grade 0
        ((0.4, 0.5, 3.0, -1.0), 0.5, [0, 1, 1, 0]),  # similarities
    ],
)
def test_grades_are_those_of_trec_eval(labels, positive_from, grades):
    scale = label_scale(labelled(*labels), LabelSettings(positive_from=positive_from))
    assert [scale.grade(label) for label in labels] == grades
    assert scale.grade(None) == 1


def test_the_threshold_can_be_given():
    scale = label_scale(labelled(1.0, 5.0), LabelSettings(positive_from=4))
    assert [scale.is_positive(label) for label in (3.0, 4.0, None)] == [False, True, True]


def test_how_labels_are_read_is_logged(caplog):
    caplog.set_level("INFO")
    label_scale(labelled(1.0, 5.0))
    read = "Labels from 1 to 5, read as ratings: 3 and above is a positive (dataset.positive_from)"
    assert read in caplog.text
    label_scale(labelled(0.01, 0.3))
    assert "No label reaches 0.5, the midpoint of 0 to 1: using 0.15 instead." in caplog.text


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_label_that_is_no_number_is_named(bad):
    with pytest.raises(DataError, match=r"Pair p1 has the label (nan|inf)"):
        label_scale(labelled(1.0, bad))


@pytest.mark.parametrize("bad", [[1.0], [5.0, 1.0], [1.0, 2.0, 3.0]])
def test_an_impossible_range_is_named(bad):
    with pytest.raises(ConfigError, match=r"dataset.label_range="):
        LabelSettings(label_range=bad)


@pytest.mark.parametrize(
    ("value", "number", "form"),
    [
        (1, 1.0, ""),
        (0.25, 0.25, ""),
        ("\u22120.5", -0.5, ""),
        ("0,9", 0.9, "decimal comma"),
        (",5", 0.5, "decimal comma"),
        ("-0,25", -0.25, "decimal comma"),
        ("1.234,5", 1234.5, "decimal comma"),
        ("90%", 0.9, "percentage"),
        ("12,5 %", 0.125, "percentage"),
        ("4/5", 0.8, "fraction"),
        ("3 out of 4", 0.75, "fraction"),
        ("4 stars", 4.0, "stars"),
        ("1 Star", 1.0, "stars"),
        ("★★★★☆", 4.0, "stars"),
        ("⭐⭐", 2.0, "stars"),
        ("☆☆☆", 0.0, "stars"),
        ("high", None, ""),
        ("1/0", None, "fraction"),
        ("nan", None, ""),
        (math.inf, None, ""),
        (10**400, None, ""),
    ],
)
def test_numbers_are_read_in_the_forms_that_people_write(value, number, form):
    assert read_label(value) == (number if number is None else pytest.approx(number), form)


def test_a_range_that_is_given_moves_the_middle_of_similarities_alone():
    assert label_scale(labelled(0.5, 3.5), LabelSettings(label_range=[1, 5])).positive_from == 3
    assert label_scale(labelled(0.0, 3.0), LabelSettings(label_range=[0, 5])).positive_from == 1


@pytest.mark.parametrize("label", [1e7, -1e7])
def test_a_label_beyond_what_trec_eval_counts_is_refused(label: float) -> None:
    with pytest.raises(DataError, match=r"has the label .*beyond 1,000,000: correct it"):
        label_scale([Pair(id="p", query="q", positive="p", document_id="d", label=label)])
