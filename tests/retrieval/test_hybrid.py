from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embexp.data.records import Chunk
from embexp.errors import ConfigError
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.bm25_weight import bm25_factors, cosine_scale
from embexp.retrieval.chroma import ChromaRetriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import Candidates, HybridRetriever, fuse
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


def test_convex_fusion_adds_weighted_scores() -> None:
    # a: .6 * .5 + .4 * .0 = .30, b: .6 * .2 + .4 * .9 = .48, c: .6 * .4 + .4 * .15 = .30
    candidates = Candidates(["a", "b", "c"], [0.5, 0.2, 0.4], [0.0, 0.9, 0.15])
    hits = candidates.rank(weight=0.4, k=3)

    assert hits == [Hit("b", 0.48), Hit("a", 0.3), Hit("c", 0.3)]
    assert candidates.rank(weight=0.4, k=1) == hits[:1]


def test_a_querys_factor_multiplies_the_odds_of_words() -> None:
    # Odds .25 / .75 times 3 are 1, so words and vectors count alike.
    candidates = Candidates(["a", "b"], [0.5, 0.2], [0.0, 0.4], factor=3.0)

    assert candidates.rank(weight=0.25, k=2) == [Hit("b", 0.3), Hit("a", 0.25)]
    assert [hit.score for hit in candidates.rank(weight=1.0, k=2)] == [0.4, 0.0]


WORDS = ["ab ab", "deque ab", "ha", "deck of decks", "heap heap queue", "a bad cab"]


@pytest.mark.parametrize("dense", [ExactRetriever(), ChromaRetriever()])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("adaptive", [True, False])
def test_a_hybrid_index_scores_as_the_formula_says(
    dense: Any, weight: float, adaptive: bool, letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    corpus, queries = chunks(*WORDS), ["ab deque", "heap of ha"]
    retriever = HybridRetriever(dense=dense, sparse=Bm25Retriever(), weight=weight, adaptive=adaptive)
    results = retriever.index(iter(corpus), letters, path=tmp_path).search(queries, k=6)

    vectors = letters.encode_passages([chunk.passage for chunk in corpus])
    bm25 = Bm25Retriever().index(corpus, path=tmp_path)
    for query, share, hits in zip(queries, bm25.normalised(queries), results, strict=True):
        cosines = vectors @ letters.encode_queries([query])[0]
        scores = dict(zip((chunk.id for chunk in corpus), cosines, strict=True))
        shares = dict(zip(bm25.ids, share, strict=True))
        own = weight
        if adaptive:
            spread = np.array([cosines.std()], dtype=np.float32)
            odds = weight * bm25_factors(spread, cosine_scale(letters))[0]
            own = odds / (1 - weight + odds)
        expected = {id: (1 - own) * scores[id] + own * shares[id] for id in scores}
        assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_chunk_that_only_one_index_finds_still_gets_both_scores(
    letters: LetterEmbedder, chunks: Make, tmp_path: Path
) -> None:
    corpus = chunks(*WORDS)
    wide = HybridRetriever(dense=ExactRetriever(), sparse=Bm25Retriever())
    narrow = HybridRetriever(dense=ExactRetriever(), sparse=Bm25Retriever(), depth=1)
    all_hits = wide.index(corpus, letters, path=tmp_path).search(["deque"], k=6)[0]
    best = narrow.index(corpus, letters, path=tmp_path).search(["deque"], k=1)[0]

    assert best == all_hits[:1]


def test_ranks_can_be_fused_instead(letters: LetterEmbedder, chunks: Make, tmp_path: Path) -> None:
    corpus = chunks("ab ab", "deque ab", "ha")
    retriever = HybridRetriever(dense=ExactRetriever(), sparse=Bm25Retriever(), fusion="rrf", weight=0.5)
    hits = retriever.index(iter(corpus), letters, path=tmp_path).search(["ab deque"], k=2)[0]

    # Dense: 1, 2, 0 (deque has d and two e); words: 1, 0.
    assert [hit.id for hit in hits] == ["1", "0"]
    assert hits[0].score == pytest.approx(1 / 61)


def test_at_least_k_hits_of_each_are_fused(letters: LetterEmbedder, chunks: Make, tmp_path: Path) -> None:
    retriever = HybridRetriever(dense=ExactRetriever(), sparse=Bm25Retriever(), depth=1)
    index = retriever.index(chunks("a", "b", "c"), letters, path=tmp_path)

    assert len(index.search(["abc"], k=1)[0]) == 1
    assert len(index.search(["abc"], k=3)[0]) == 3
    assert index.search([], k=3) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, r"retriever.depth is 0"),
        ({"constant": -1}, r"retriever.constant is -1"),
        ({"weight": 1.5}, r"retriever.weight is 1.5: give a number from 0 to 1"),
        ({"fusion": "sum"}, r"retriever.fusion is 'sum': give convex or rrf"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HybridRetriever(dense=ExactRetriever(), sparse=Bm25Retriever(), **options)


class SpellingEmbedder(LetterEmbedder):
    """A model that has read the letters a to h alone: its tokenizer spells all Russian words."""

    @property
    def tokens(self) -> SpellingTokens:
        return SpellingTokens()


class SpellingTokens:
    limit = query_limit = 100

    def count(self, texts: Sequence[str]) -> list[int]:
        return [1 if text.isascii() else len(text) for text in texts]

    def unknown(self, texts: Sequence[str]) -> list[bool]:
        return [False] * len(texts)


@pytest.mark.parametrize(("query", "first"), [("dab клиент протокол", "0"), ("dab client", "1")])
def test_words_decide_where_the_model_cannot_read(
    chunks: Make, tmp_path: Path, query: str, first: str
) -> None:
    corpus = chunks("protocol client", "badge", "socket")
    retriever = HybridRetriever(dense=ExactRetriever(), sparse=Bm25Retriever(), weight=0.2)

    hits = retriever.index(corpus, SpellingEmbedder(), path=tmp_path).search([query], k=3)[0]

    assert hits[0].id == first
