"""Whose words the dev questions are, which decides how far they may choose the retriever."""

from __future__ import annotations

import pytest

from embexp.data.records import EXTRACTIVE, HELD_OUT, TEST_ONLY, Generator, Pair
from embexp.pipeline.retriever import asks_in_copied_words


@pytest.mark.parametrize(
    ("kinds", "copied"),
    [
        ([EXTRACTIVE] * 3, True),
        ([TEST_ONLY, *[EXTRACTIVE] * 2, HELD_OUT], True),  # a few of people's, and others to make them enough
        ([*["human"] * 3, EXTRACTIVE], False),
        (["human", "llm", EXTRACTIVE], False),
        ([], True),
    ],
)
def test_dev_questions_are_copied_where_most_were_cut_out(kinds: list[str], copied: bool) -> None:
    dev = [Pair(f"{at}", "q", "p", "d", generator=Generator(kind=kind)) for at, kind in enumerate(kinds)]
    assert asks_in_copied_words(dev) is copied
