"""Word alignment by IBM Model 1."""

from __future__ import annotations

import numpy as np

from embexp.data.word_alignment import Alignment, align


def best(found: Alignment) -> dict[int, int]:
    """The passage token that each question token translates most often."""
    order = np.argsort(found.counts)
    return {
        int(question): int(passage)
        for question, passage in zip(found.questions[order], found.passages[order], strict=True)
    }


def test_tokens_that_occur_together_in_several_pairs_are_translations() -> None:
    # Token n of a question stands for token n + 100 of a passage; 900 is in every passage.
    pairs = [([a, b], [900, a + 100, b + 100]) for a in range(6) for b in range(6) if a != b]

    found = best(align([question for question, _ in pairs], [passage for _, passage in pairs]))

    assert found == {token: token + 100 for token in range(6)}


def test_each_occurrence_of_a_token_counts_once_in_all() -> None:
    pairs = [([1, 1, 2], [10, 20, 30]), ([2, 3], [20]), ([3], [10, 30])]

    found = align([question for question, _ in pairs], [passage for _, passage in pairs])

    for token, occurrences in ((1, 2), (2, 2), (3, 2)):
        explained = found.counts[found.questions == token].sum()
        assert 0 < explained <= occurrences, "the rest translates no token of the passage"


def test_a_word_that_no_passage_explains_is_left_to_none_of_them() -> None:
    # Token 7 is in every question, the passages have nothing in common.
    pairs = [([7, n], [n + 100]) for n in range(1, 60) if n != 7]

    found = align([question for question, _ in pairs], [passage for _, passage in pairs])

    of_seven, of_five = (found.counts[found.questions == token].sum() for token in (7, 5))
    assert of_seven < 0.25 * len(pairs)
    assert of_five > 0.5


def test_no_pairs_and_empty_ones_align_nothing() -> None:
    assert len(align([], []).counts) == 0
    assert len(align([[], [3]], [[4], []]).counts) == 0
