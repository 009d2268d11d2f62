"""What a model does not read of texts, counted and said."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from embexp.data.truncation import Truncation, nothing_is_cut, truncation, truncation_lines


class Words:
    """Counts a token for each word, and remembers how often it was asked."""

    limit = 4
    query_limit = 3

    def __init__(self) -> None:
        self.calls = 0

    def count(self, texts: Sequence[str]) -> list[int]:
        self.calls += 1
        return [len(text.split()) for text in texts]


def test_cut_texts_and_their_lost_tokens_are_counted() -> None:
    # 2 + 5 + 7 = 14 tokens; of the 12 of the two longer texts, 1 + 3 = 4 are beyond the limit of 4.
    texts = ["a b", "a b c d e", "a b c d e f g"]
    assert truncation(texts, Words(), limit=4) == Truncation(
        limit=4, texts=3, cut=2, tokens=14, lost=4, lost_share=4 / 12
    )


@pytest.mark.parametrize("texts", [[], ["a b c d"]])
def test_texts_that_fit_lose_nothing(texts: list[str]) -> None:
    counted = truncation(texts, Words(), limit=4)
    assert (counted.cut, counted.lost, counted.lost_share) == (0, 0, 0.0)
    assert truncation_lines({"passages": counted}) == []


def test_texts_are_read_a_few_at_a_time() -> None:
    tokens = Words()
    texts = ("word " * (number % 2 * 30) for number in range(600))
    assert truncation(texts, tokens, limit=20).cut == 300
    assert tokens.calls == 3


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("passages", "chunker=headings, chunker=windows"),
        ("queries", "Ask shorter questions, or choose a model that reads longer texts"),
        ("benchmark passages", "To have them read whole, choose a model"),
        ("benchmark queries", "Ask shorter questions"),
    ],
)
def test_the_sentence_has_number_share_and_remedy(kind: str, remedy: str) -> None:
    (line,) = truncation_lines({kind: Truncation(254, 1200, 3, 90_000, 450, 0.375), "others": FITTING})
    assert line.startswith(
        f"3 of 1,200 {kind} are longer than the 254 tokens that the model reads: 38% of their tokens "
        "(0.5% of all) are lost. "
    )
    assert remedy in line


FITTING = Truncation(254, 5, 0, 90, 0, 0.0)


def test_that_nothing_is_cut_is_said_too() -> None:
    assert nothing_is_cut({"passages": FITTING, "queries": FITTING}) == (
        "The model reads all texts whole: 5 passages (up to 254 tokens), 5 queries (up to 254 tokens)."
    )
