import logging
from dataclasses import replace

from embexp.data.leaks import Leaks, audit
from embexp.data.records import Pair
from embexp.data.splitting import Splits, SplitSettings

LONG = (
    "The deque is a double ended queue with fast appends and pops from either side, and it can be bounded to "
    "a maximum length, after which items fall off the other end."
)


def pair(name, query="", positive="", document="", split=None):
    return Pair(
        id=name,
        query=query or f"unlike any other question {name * 3}",
        positive=positive or f"{name * 9} is what this passage of its own is about",
        document_id=document or f"document {name}",
        split=split,
    )


def test_our_own_split_loses_passages_and_questions():
    splits = Splits(
        train=[
            pair("a", query="How to cap a deque"),
            pair("b", positive=LONG.replace("fast", "quick")),
            pair("c", positive="text of the dev set, word for word"),
            pair("d"),
        ],
        dev=[
            pair("e", positive="text of the dev set, word for word"),
            pair("f", query="how to cap a deque?"),
        ],
        test=[pair("g", query="How to cap a deque?", positive=LONG)],
    )
    clean, leaks = audit(splits)
    assert [item.id for item in clean.train] == ["d"]
    assert [item.id for item in clean.dev] == ["e"]
    assert clean.test == splits.test
    assert replace(leaks, examples=()) == Leaks(
        0, near_duplicate_chunks=2, near_duplicate_queries=2, removed_from_train=3, removed_from_dev=1
    )
    assert [(leak.kind, leak.split, leak.text, leak.held_out) for leak in leaks.examples] == [
        ("question", "train", "How to cap a deque", "How to cap a deque?"),
        ("question", "dev", "how to cap a deque?", "How to cap a deque?"),
        ("passage", "train", *["text of the dev set, word for word"] * 2),
        ("passage", "train", LONG.replace("fast", "quick"), LONG),
    ]
    assert [leak.similarity for leak in leaks.examples[:3]] == [1.0, 1.0, 1.0]
    assert 0.8 <= leaks.examples[3].similarity < 1


def test_a_sets_own_split_keeps_shared_documents_and_loses_questions(caplog):
    splits = Splits(
        train=[
            pair("a", document="shared", positive=LONG, split="train"),
            pair("b", document="shared", positive=LONG, query="How to cap a deque", split="train"),
            pair("c", positive=LONG + " Indeed.", split="train"),
        ],
        dev=[],
        test=[
            pair("d", document="shared", positive=LONG, query="how to cap a deque?", split="test"),
            pair("e", positive=LONG, split="test"),
        ],
    )
    with caplog.at_level(logging.INFO):
        clean, leaks = audit(splits)
    assert [item.id for item in clean.train] == ["a", "c"]
    counted = replace(leaks, examples=())
    assert counted == Leaks(1, near_duplicate_chunks=1, near_duplicate_queries=1, removed_from_train=1)
    assert "1 documents in both train and test (the data set's own split, so they stay)" in caplog.text


def test_documents_shared_by_mistake_are_taken_out_of_train():
    clean, leaks = audit(Splits([pair("a", document="d"), pair("b")], [], [pair("c", document="d")]))
    assert [item.id for item in clean.train] == ["b"]
    assert leaks.documents == 1


def test_thresholds_come_from_the_settings():
    splits = Splits([pair("a", positive=LONG.replace("fast", "quick"))], [], [pair("b", positive=LONG)])
    kept, _ = audit(splits, SplitSettings(near_duplicate_passages=1.0))
    assert len(kept.train) == 1


def test_the_examples_are_bounded_and_of_both_kinds():
    same = [f"question number {n} about {n * 7919 % 9973}" for n in range(80)]
    train = [pair(f"a{n}", query=text, positive=f"{n} {LONG}" * 20) for n, text in enumerate(same)]
    _, leaks = audit(
        Splits(train, [], [pair(f"b{n}", query=q.query, positive=q.positive) for n, q in enumerate(train)])
    )
    kinds = [leak.kind for leak in leaks.examples]
    assert (kinds.count("question"), kinds.count("passage")) == (25, 25)
    assert max(len(leak.text) for leak in leaks.examples) == 1000
