"""Words that a tokenizer spells letter by letter."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from embexp.data.spelling import MOSTLY, is_spelled, mostly_spelled, spelled_share


class Latin:
    """Has a token for each word of Latin letters, and one for each letter of other words."""

    limit = query_limit = 256

    def count(self, texts: Sequence[str]) -> list[int]:
        return [1 if text.isascii() else len(text) for text in texts]

    def unknown(self, texts: Sequence[str]) -> list[bool]:
        return ["锅" in text for text in texts]


@pytest.mark.parametrize(
    ("word", "tokens", "spelled"),
    [("kettle", 1, False), ("kettle", 4, False), ("kettle", 5, True), ("abc", 2, False), ("abc", 3, True)],
)
def test_a_word_is_spelled_where_it_has_about_as_many_tokens_as_letters(word, tokens, spelled) -> None:
    assert is_spelled(word, tokens) is spelled


def test_the_share_is_that_of_the_words_that_can_tell() -> None:
    assert spelled_share(Latin(), ["the old kettle", "чайник и ещё 12"]) == pytest.approx(2 / 5)
    assert spelled_share(Latin(), ["чайник"] * 5_000) == 1.0


def test_letters_without_spaces_tell_where_the_tokenizer_does_not_know_them() -> None:
    assert spelled_share(Latin(), ["锅炉 锅 kettle"]) == pytest.approx(2 / 4)


def test_each_text_is_judged_by_its_own_words() -> None:
    texts = ["the kettle", "чайник кипит", "чайник in the kettle", "", "锅锅炉"]

    assert mostly_spelled(Latin(), texts) == [False, True, False, False, True]


@pytest.mark.parametrize("texts", [[], [""], ["12 ab и"]])
def test_without_words_that_can_tell_nothing_is_spelled(texts: list[str]) -> None:
    assert spelled_share(Latin(), texts) == 0.0 < MOSTLY
