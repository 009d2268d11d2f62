import math

import pytest

from embexp.synthesis.salience import Terms, cosine


def test_weights_follow_the_formula():
    terms = Terms.read(["cat dog", "cat", "bird"])
    # tf 2, df 2 of 3: (1 + ln 2) * (ln(4 / 3) + 1)
    assert terms.weights("Cat cat")["cat"] == pytest.approx((1 + math.log(2)) * (math.log(4 / 3) + 1))


def test_keywords_are_the_rarest_words_in_their_own_order():
    terms = Terms.read(["the common word here", "the common zebra", "the common word", "walrus the common"])
    assert terms.keywords("the walrus, common word, the zebra", 2) == ["walrus", "zebra"]


def test_keywords_leave_out_what_most_chunks_say_and_what_is_no_word():
    terms = Terms.read([f"shared text number{at}" for at in range(12)])
    assert terms.keywords("shared text 12345 ab unique", 5) == ["unique"]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [({"a": 3.0, "b": 4.0}, {"a": 1.0}, 0.6), ({"a": 1.0}, {"b": 1.0}, 0.0), ({}, {"a": 1.0}, 0.0)],
)
def test_cosine(one, other, expected):
    assert cosine(one, other) == pytest.approx(expected)
