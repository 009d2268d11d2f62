"""An embedder that loads its model only for texts whose vectors are not on disk yet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from embexp.models.embedder import ModelEmbedder
from embexp.models.embedding_cache import EmbeddingCache
from embexp.protocols import ModelSource

if TYPE_CHECKING:
    from embexp.protocols import Vectors


class SourceEmbedder:
    """Embeds with the model of ``source`` and keeps every vector in ``cache``."""

    def __init__(self, source: ModelSource, cache: EmbeddingCache) -> None:
        self.fingerprint = source.fingerprint()
        self._source = source
        self._cache = cache

    @cached_property
    def _embedder(self) -> ModelEmbedder:
        return ModelEmbedder(self._source.load(), fingerprint=self.fingerprint)

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self._embedder.dimension

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""
        return self._cache.get_or_encode(
            self.fingerprint, "query", texts, lambda missing: self._embedder.encode_queries(missing)
        )

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""
        return self._cache.get_or_encode(
            self.fingerprint, "passage", texts, lambda missing: self._embedder.encode_passages(missing)
        )
