from __future__ import annotations

import pytest

from embexp.data.near_duplicates import Match, NearDuplicateIndex, near_duplicates, normalised, similarity

LONG = (
    "The deque is a double ended queue with fast appends and pops from either side, and it can be bounded to "
    "a maximum length, after which items fall off the other end."
)


@pytest.mark.parametrize(
    ("text", "expected"), [("  How-To,  CAP? ", "how to cap"), ("Ｆｕｌｌ", "full"), ("?!", "?!")]
)
def test_normalised(text, expected):
    assert normalised(text) == expected


def test_similarity_is_that_of_the_distinct_runs_of_characters():
    # abab holds ab, ba, ab: two distinct runs of two characters; aba holds the same two
    assert similarity("abab", "aba", width=2) == 1
    assert similarity("a", "A!", width=4) == 1
    assert similarity("abcd", "abcx", width=2) == pytest.approx(2 / 4)


@pytest.mark.parametrize(
    ("text", "is_near"),
    [
        (LONG.upper(), True),
        (LONG.replace("fast", "quick"), True),
        (LONG[:60], False),
        ("Something else entirely, of about the same length as the other passage, about birds.", False),
    ],
)
def test_near_duplicates(text, is_near):
    near = near_duplicates([text], [LONG, "another passage"], threshold=0.8, width=5, what="passages")
    assert set(near) == ({text} if is_near else set())
    assert all(held_out == LONG and 0.8 <= similarity <= 1 for held_out, similarity in near.values())


def test_many_templated_texts_are_told_apart():
    texts = [f"What is the amount of item {at * 7919 % 99991} in the ledger of {at}?" for at in range(300)]
    assert near_duplicates(texts[:150], texts[150:], threshold=0.9, width=4, what="questions") == {}


def test_nothing_held_out_nothing_found():
    assert near_duplicates(["a"], [], threshold=0.8, width=5, what="passages") == {}
    assert near_duplicates([], ["a"], threshold=0.8, width=5, what="passages") == {}


def test_an_index_grows_while_it_is_searched():
    index = NearDuplicateIndex(threshold=0.8, width=4)
    assert index.find(LONG) is None
    others = [
        f"{n * 7919 % 99991} is what entry {n} says of shelf {n * 31} in room {n * 53}" for n in range(300)
    ]
    for text in others:  # more than there is room for at first
        index.add(text)
    assert [index.find(f"{text} today").text for text in others] == others
    index.add(LONG)
    index.add(LONG.upper())  # equal to the one before
    assert index.find(LONG.upper()) == Match(LONG, 1.0)
    near = index.find(LONG.replace("fast", "quick"))
    assert near.text == LONG
    assert 0.8 <= near.similarity < 1
    assert index.find("words that are not in there at all, of whatever length") is None


def test_the_most_similar_text_is_returned():
    index = NearDuplicateIndex(threshold=0.5, width=4)
    index.add(LONG.replace("fast appends", "slow removals"))
    index.add(LONG.replace("fast", "quick"))
    assert index.find(LONG).text == LONG.replace("fast", "quick")


def test_a_threshold_of_one_finds_equal_texts_alone():
    index = NearDuplicateIndex(threshold=1, width=4)
    index.add("How to cap a deque")
    assert index.find("how to cap a deque?") == Match("How to cap a deque", 1.0)
    assert index.find("how to cap deques") is None
