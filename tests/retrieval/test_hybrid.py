from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embexp.data.records import Chunk
from embexp.errors import ConfigError
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import HybridRetriever, fuse
from embexp.retrieval.index import Hit
from tests.retrieval.letter_embedder import LetterEmbedder

Make = Callable[..., list[Chunk]]


def ranking(*ids: str) -> list[Hit]:
    return [Hit(id, 100.0 - rank) for rank, id in enumerate(ids)]


def test_scores_add_up_over_the_rankings() -> None:
    fused = fuse([ranking("a", "b"), ranking("c", "a")], 10)

    assert [hit.id for hit in fused] == ["a", "c", "b"]
    assert [hit.score for hit in fused] == pytest.approx([1 / 61 + 1 / 62, 1 / 61, 1 / 62])


def test_weights_and_constant_count() -> None:
    fused = fuse([ranking("a"), ranking("b")], 10, constant=0, weights=[1, 3])

    assert fused == [Hit("b", 3.0), Hit("a", 1.0)]


def test_equal_scores_are_ordered_by_id_and_cut_at_k() -> None:
    assert [hit.id for hit in fuse([ranking("b"), ranking("a"), []], 1)] == ["a"]
    assert fuse([], 5) == []


def test_a_weight_is_needed_for_each_ranking() -> None:
    with pytest.raises(ConfigError, match=r"1 weights were given for 2 rankings"):
        fuse([ranking("a"), ranking("b")], 1, weights=[1])


def test_both_kinds_of_search_have_their_say(letters: LetterEmbedder, chunks: Make, tmp_path: Path) -> None:
    corpus = chunks("ab ab", "deque ab", "ha")
    retriever = HybridRetriever(dense=ExactRetriever(), sparse=Bm25Retriever())
    found = retriever.index(iter(corpus), letters, path=tmp_path).search(["ab deque"], k=2)

    # Dense: 1, 2, 0 (deque has d and two e); words: 1, 0.
    assert [hit.id for hit in found[0]] == ["1", "0"]
    assert found[0][0].score == pytest.approx(2 / 61)


def test_at_least_k_hits_of_each_are_fused(letters: LetterEmbedder, chunks: Make, tmp_path: Path) -> None:
    retriever = HybridRetriever(dense=ExactRetriever(), sparse=Bm25Retriever(), depth=1)
    index = retriever.index(chunks("a", "b", "c"), letters, path=tmp_path)

    assert len(index.search(["abc"], k=1)[0]) == 1
    assert len(index.search(["abc"], k=3)[0]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, r"retriever.depth is 0"),
        ({"constant": -1}, r"retriever.constant is -1"),
        ({"weights": [1.0]}, r"retriever.weights is \[1.0\]: give two numbers"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HybridRetriever(dense=ExactRetriever(), sparse=Bm25Retriever(), **options)
