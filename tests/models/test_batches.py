"""Texts of similar length go together, and progress so far foretells the rest."""

from __future__ import annotations

import itertools
import random

import pytest

from embexp.models.batches import similar_batches


def test_every_text_is_in_one_batch_with_texts_of_its_length() -> None:
    lengths = random.Random(0).choices(range(1, 257), k=1000)
    batches = similar_batches(lengths, lambda longest: max(1_024 // longest, 4))
    assert sorted(number for batch in batches for number in batch) == list(range(1000))
    for batch in batches:
        assert lengths[batch[0]] == max(lengths[number] for number in batch)
        assert len(batch) <= max(1_024 // lengths[batch[0]], 4)
    spans = sorted(((lengths[batch[0]], lengths[batch[-1]]) for batch in batches), reverse=True)
    assert all(later[0] <= earlier[1] for earlier, later in itertools.pairwise(spans))


def test_the_longest_texts_come_first() -> None:
    assert similar_batches([3, 9, 1, 9, 2], lambda _: 2)[0] == [1, 3]


def test_no_texts_are_no_batches() -> None:
    assert similar_batches([], lambda _: 2) == []


def test_a_quarter_of_the_work_is_about_a_quarter_of_the_texts() -> None:
    lengths = [random.Random(number).choice([10, 20, 200]) for number in range(6000)]
    batches = similar_batches(lengths, lambda longest: min(4_096 // longest, 64))
    tokens = [sum(lengths[number] for number in batch) for batch in batches]
    done, texts = 0, 0
    for batch, own in zip(batches, tokens, strict=True):
        if done > sum(tokens) / 4:
            break
        done, texts = done + own, texts + len(batch)
    assert texts / 6000 == pytest.approx(0.25, abs=0.05)
