import logging
import random
from dataclasses import replace

import pytest

from embexp.data.records import TEST_ONLY, Generator, Pair
from embexp.data.splitting import Splits, SplitSettings, _by_document, _by_query, split_by_document
from embexp.errors import ConfigError, DataError


def pair(name, document, **fields):
    return Pair(
        id=name, query=f"query {name}", positive=f"text of {document}", document_id=document, **fields
    )


def one_each(count, **fields):
    return [pair(f"p{at}", f"d{at}", **fields) for at in range(count)]


def ids(pairs):
    return {item.id for item in pairs}


def documents(pairs):
    return {item.document_id for item in pairs}


def split(pairs, *, seed=0, need_train=True, **settings) -> Splits:
    return split_by_document(pairs, SplitSettings(**settings), seed=seed, need_train=need_train)


def test_shares_are_of_documents():
    splits = split(one_each(100), dev=0.1, test=0.2)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (70, 10, 20)


def test_no_document_stands_in_two_splits():
    pairs = [pair(f"p{d}-{at}", f"d{d}") for d in range(30) for at in range(4)]
    splits = split(pairs)
    train, dev, test = documents(splits.train), documents(splits.dev), documents(splits.test)
    assert train.isdisjoint(dev | test)
    assert dev.isdisjoint(test)
    assert len(splits.train) + len(splits.dev) + len(splits.test) == 120


def test_input_order_does_not_matter_but_the_seed_does():
    pairs = one_each(50)
    shuffled = random.Random(3).sample(pairs, 50)
    assert split(pairs) == split(shuffled)
    assert ids(split(pairs).test) != ids(split(pairs, seed=1).test)


def test_documents_that_share_a_question_stay_together():
    pairs = [
        item
        for at in range(20)
        for item in (pair(f"a{at}", f"d{at}", query_id=f"q{at}"), pair(f"b{at}", f"e{at}", query_id=f"q{at}"))
    ]
    splits = split(pairs)
    for part in (splits.train, splits.dev, splits.test):
        assert {d[1:] for d in documents(part) if d[0] == "d"} == {
            d[1:] for d in documents(part) if d[0] == "e"
        }


def test_groups_are_connected_components_over_relevant_pairs():
    pairs = [
        pair("1", "a", query_id="q"),
        pair("2", "b", query_id="q"),
        pair("3", "b", query_id="r"),
        pair("4", "c", query_id="r", label=0.0),
        pair("5", "e", query_id="s", label=0.0),
        pair("6", "c", query_id="t"),
    ]
    assert {frozenset(ids(group.pairs)) for group in _by_document(pairs)} == {
        frozenset("1234"),
        frozenset("5"),
        frozenset("6"),
    }
    assert sorted(group.size for group in _by_query(pairs)) == [1, 1, 1, 1]


def test_a_knot_of_documents_stays_in_training():
    knot = [pair(f"k{at}", f"k{at}", query_id="big") for at in range(30)]
    splits = split(knot + one_each(30))
    assert documents(knot) <= documents(splits.train)


def test_a_lone_knot_is_taken_whole_where_nothing_smaller_is_left():
    pairs = [pair(f"{knot}{at}", f"{knot}{at}", query_id=knot) for knot in "abc" for at in range(3)]
    splits = split(pairs, dev=0.1, test=0.1)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (3, 3, 3)


def typed(count, *kinds):
    return [
        pair(f"{kind}{at}", f"d{at}", chunk_id=f"c{at}", query_type=kind)
        for at in range(count)
        for kind in kinds
    ]


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        (typed(40, "summary", "keywords"), "summary"),
        (typed(40, "sentence", "title"), "sentence"),
        (typed(40, "sentence") + typed(3, "summary"), "sentence"),
        (typed(40, "keywords") + typed(4, "sentence"), "sentence"),
        (typed(40, "human", "sentence"), "human"),
    ],
)
def test_the_test_asks_the_most_human_kind_that_enough_documents_have(pairs, kind):
    splits = split(pairs)
    assert {item.query_type for item in splits.test} == {item.query_type for item in splits.dev} == {kind}


def test_without_a_listed_kind_any_kind_is_asked():
    assert {item.query_type for item in split(typed(40, "keywords")).test} == {"keywords"}


def test_test_documents_are_drawn_among_those_that_can_be_asked():
    splits = split(typed(50, "keywords") + typed(30, "summary"), test=0.4, dev=0.1)
    assert len(splits.test) == 20
    assert len(splits.dev) == 5


def test_one_cut_out_question_a_chunk():
    pairs = [
        pair(f"s{at}{letter}", f"d{at}", chunk_id=f"c{at}", query_type="sentence")
        for at in range(20)
        for letter in "ab"
    ]
    splits = split(pairs)
    assert len(splits.test) == len({item.chunk_id for item in splits.test}) == 4
    assert len(splits.train) == 28


def test_training_may_leave_out_the_kind_that_is_tested():
    splits = split(typed(40, "summary", "keywords"), train_on_test_type=False)
    assert {item.query_type for item in splits.train} == {"keywords"}


def test_held_out_questions_are_asked_and_never_train():
    written = [pair(f"q{at}", f"d{at}", query_type="question") for at in range(20)]
    aside = [
        pair(f"s{at}", f"d{at}", query_type="sentence", generator=Generator(kind="held_out"))
        for at in range(20)
    ]
    splits = split([*written, *aside])
    assert {item.query_type for item in [*splits.dev, *splits.test]} == {"sentence"}
    assert {item.query_type for item in splits.train} == {"question"}
    assert len(splits.train) == 20 - len(splits.dev) - len(splits.test)  # one question a document


def test_limits_keep_whole_questions_from_as_many_documents_as_possible():
    pairs = [pair(f"p{d}-{at}", f"d{d}") for d in range(40) for at in range(10)]
    splits = split(pairs, max_train=30, max_dev=4, max_test=16)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (30, 4, 16)
    assert len(documents(splits.test)) == 8
    judged_twice = [replace(item, query_id=item.id) for item in pairs] + [
        replace(item, id=item.id + "x", query_id=item.id) for item in pairs
    ]
    assert len(split(judged_twice, max_test=16).test) == 32


def with_own_split(train_documents, test_documents, each=5):
    return [
        pair(f"{name}{d}-{at}", f"d{d}", split=name)
        for name, some in (("train", train_documents), ("test", test_documents))
        for d in some
        for at in range(each)
    ]


def test_an_own_split_is_kept_and_dev_comes_out_of_train_by_document():
    pairs = with_own_split(range(40), range(40, 60))
    splits = split(pairs, max_test=10)
    assert len(splits.test) == 100
    assert all(item.split == "test" for item in splits.test)
    assert not documents(splits.train) & documents(splits.dev)
    assert len(documents(splits.dev)) == 4


@pytest.mark.parametrize(
    ("dev_by", "train", "by_query_is_used"),
    [
        ("auto", range(20), True),
        ("auto", range(30, 50), False),
        ("query", range(30, 50), True),
        ("document", range(20), False),
    ],
)
def test_dev_follows_the_sets_own_way_of_splitting(dev_by, train, by_query_is_used):
    splits = split(with_own_split(train, range(20)), dev_by=dev_by)
    assert len(splits.dev) == 10
    assert bool(documents(splits.dev) & documents(splits.train)) == by_query_is_used


def test_an_own_dev_split_is_kept_but_capped():
    pairs = with_own_split(range(20), range(20, 30)) + [pair(f"v{at}", "dv", split="dev") for at in range(9)]
    splits = split(pairs, max_dev=5)
    assert ids(splits.dev) < {f"v{at}" for at in range(9)}
    assert (len(splits.train), len(splits.dev)) == (100, 5)


@pytest.mark.parametrize(("dev", "test"), [(0.4, 0.5), (0.0, 0.95), (0.1, 0.1)])
def test_three_documents_are_enough_for_any_shares(dev, test):
    splits = split(one_each(3), dev=dev, test=test)
    assert len(splits.train) >= 1
    assert len(splits.test) >= 1
    assert (len(splits.dev) >= 1) == (dev > 0)


def test_no_dev_and_no_test_when_not_wanted():
    splits = split(one_each(3), dev=0, test=0)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (3, 0, 0)


def test_only_test_pairs_can_be_benchmarked():
    splits = split(one_each(3, split="test"), need_train=False)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (0, 0, 3)


def test_says_how_many_pairs_each_split_got(caplog):
    with caplog.at_level(logging.INFO):
        split(typed(20, "summary"))
    assert "14 train, 2 dev, 4 test pairs (test questions are of the type summary)" in caplog.text


@pytest.mark.parametrize(
    ("pairs", "settings", "message"),
    [
        (one_each(2), {}, "come from 2 documents and the split needs at least 3"),
        (
            [pair(f"p{at}", f"d{at}", query_id="q") for at in range(9)],
            {},
            "1 documents that do not share a question, out of 9, and the split needs at least 3",
        ),
        ([], {}, "Nothing is left to train on .*synthesis=extractive"),
        (one_each(2, split="test"), {}, "Nothing is left to train on"),
        (typed(20, "summary"), {"train_on_test_type": False}, "set split.train_on_test_type=true"),
    ],
)
def test_refuses_data_that_cannot_be_split(pairs, settings, message):
    with pytest.raises(DataError, match=message):
        split(pairs, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dev": 0.5, "test": 0.5}, "split.dev=0.5, split.test=0.5"),
        ({"test": -0.1}, "split.test is -0.1"),
        ({"max_test": 0}, "split.max_test is 0"),
        ({"near_duplicate_passages": 0.2}, "split.near_duplicate_passages is 0.2"),
        ({"dev_by": "moon"}, "split.dev_by=moon"),
    ],
)
def test_refuses_settings_that_cannot_work(settings, message):
    with pytest.raises(ConfigError, match=message):
        SplitSettings(**settings)


def people_among(documents_asked, documents, kind="human"):
    """Questions of people about the first documents, and extracted ones about all."""
    asked = [
        pair(f"h{at}", f"d{at}", query_type="human", generator=Generator(kind=kind))
        for at in range(documents_asked)
    ]
    extracted = [
        pair(f"e{at}", f"d{at}", query_type="title", generator=Generator(kind="extractive"))
        for at in range(documents)
    ]
    return [*asked, *extracted]


def test_few_questions_of_people_are_the_test_and_some_of_them_train():
    splits = split(people_among(60, 200))
    assert {item.query_type for item in splits.test} == {"human"}
    assert len(splits.test) == 30  # half of the documents that people ask about, and a fifth for dev
    assert sum(item.query_type == "human" for item in splits.dev) == 12
    assert sum(item.query_type == "human" for item in splits.train) == 60 - 30 - 12
    assert not documents(splits.train) & documents([*splits.dev, *splits.test])


def test_questions_that_are_kept_for_the_test_never_train():
    splits = split(people_among(60, 200, kind=TEST_ONLY))
    assert len(splits.test) == 48
    assert {item.query_type for item in splits.train} == {"title"}
    assert not documents(splits.train) & documents([*splits.dev, *splits.test])


@pytest.mark.parametrize(("asked", "dev"), [(1, 0), (2, 0), (14, 2)])
def test_few_questions_that_are_kept_for_the_test_are_asked(asked, dev):
    splits = split(people_among(asked, 200, kind=TEST_ONLY))
    assert {item.query_type for item in splits.test} == {"human"}
    assert len(splits.test) == asked - dev
    assert sum(item.query_type == "human" for item in splits.dev) == dev
    assert len(splits.dev) >= 20


def test_questions_for_the_test_alone_are_all_asked_where_nothing_trains():
    asked = [item for item in people_among(60, 60, kind=TEST_ONLY) if item.query_type == "human"]
    splits = split(asked, need_train=False)
    assert (len(splits.train), len(splits.dev), len(splits.test)) == (0, 6, 54)


def test_many_questions_of_people_keep_the_shares():
    splits = split(people_among(180, 200))
    assert (len(splits.test), len(splits.dev)) == (40, 20)
    assert {item.query_type for item in [*splits.dev, *splits.test]} == {"human"}


def test_too_few_questions_of_people_are_told(caplog):
    caplog.set_level(logging.WARNING)
    splits = split(people_among(5, 200), test_types=["human", "title"])
    assert "human" not in {item.query_type for item in splits.test}
    assert "People's questions are about 5 documents, too few to test on" in caplog.text
