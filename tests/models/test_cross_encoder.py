"""Scores of a cross-encoder: one for each pair, kept on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from embexp.errors import ModelError
from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.models.embedding_cache import EmbeddingCache
from tests.tiny_cross_encoder import save_cross_encoder


def test_a_cross_encoder_with_several_outputs_is_refused(tmp_path: Path) -> None:
    folder = save_cross_encoder(tmp_path / "cross", outputs=3)
    with pytest.raises(ModelError, match=r"gives 3 numbers for a pair: choose a cross-encoder"):
        CrossEncoderScorer(model=str(folder)).scores([("a", "b")], EmbeddingCache(tmp_path / "cache"))


def test_scores_of_pairs_are_kept(tmp_path: Path) -> None:
    folder, cache = save_cross_encoder(tmp_path / "cross"), EmbeddingCache(tmp_path / "cache")
    first = CrossEncoderScorer(model=str(folder)).scores(
        [("a", "kettle"), ("a", "bicycle"), ("a", "kettle")], cache
    )
    again = CrossEncoderScorer(model=str(folder)).scores([("a", "bicycle"), ("b", "garden")], cache)
    assert first.vectors.shape == (3, 1)
    assert first.vectors[0] == first.vectors[2] != first.vectors[1]
    assert (first.known, again.known) == (0, 1)
    assert again.vectors[0] == first.vectors[1]
