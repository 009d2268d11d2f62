"""The weight of words for a query: by how much its nearest passages' cosines differ, on the model's scale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from embexp.models import TinyModel
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.retrieval.bm25_weight import MOST, UNREAD, bm25_factors, cosine_scale, unread_queries
from tests.retrieval.letter_embedder import RandomEmbedder


class NarrowEmbedder(RandomEmbedder):
    """A model whose cosines fill a quarter of the range: each vector is mostly the same direction."""

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        own = super().encode_queries(texts)
        return np.hstack([0.5 * own, np.full((len(texts), 1), 0.75**0.5, dtype=np.float32)])

    encode_passages = encode_queries


def test_words_count_as_much_as_the_weight_says_where_the_spread_is_usual() -> None:
    factors = bm25_factors(np.array([0.1, 0.05, 0.025, 0.0], dtype=np.float32), 1.0)

    assert factors == pytest.approx([0.5, 1.0, 2.0, MOST])


def test_a_model_with_narrow_cosines_gets_the_same_ranking() -> None:
    # Cosines c become .75 + .25 c, so spreads are a quarter; the odds of words must be a quarter, too.
    wide, narrow = cosine_scale(RandomEmbedder()), cosine_scale(NarrowEmbedder())
    spreads = np.array([0.02, 0.05, 0.08], dtype=np.float32)

    assert narrow == pytest.approx(wide / 4, rel=1e-5)
    assert bm25_factors(spreads / 4, narrow) == pytest.approx(bm25_factors(spreads, wide) / 4, rel=1e-5)


def test_a_model_that_embeds_all_texts_alike_has_a_scale_nevertheless() -> None:
    class Same(RandomEmbedder):
        def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
            return np.tile(super().encode_queries(["a"]), (len(texts), 1))

    assert cosine_scale(Same()) == 0.01


QUERIES = ["how do I cap a deque?", "как ограничить очередь?", "deque: очередь с двумя концами", "", "?"]


def test_a_model_has_not_read_words_that_its_tokenizer_spells(tmp_path: Path) -> None:
    embedder = SourceEmbedder(TinyModel(), EmbeddingCache(tmp_path))

    assert unread_queries(embedder, QUERIES).tolist() == [False, True, True, False, False]


def test_a_model_without_a_tokenizer_at_hand_has_read_all() -> None:
    assert not unread_queries(RandomEmbedder(), QUERIES).any()


def test_words_count_most_for_a_query_that_the_model_cannot_read() -> None:
    factors = bm25_factors(np.array([0.1, 0.1], dtype=np.float32), 1.0, np.array([False, True]))

    assert factors == pytest.approx([0.5, UNREAD])
