"""An embedder that loads its model only for texts whose vectors are not on disk yet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from embexp.models.embedder import ModelEmbedder
from embexp.models.embedding_cache import EmbeddingCache, Encode, Role
from embexp.protocols import ModelSource

if TYPE_CHECKING:
    from embexp.protocols import Vectors


class SourceEmbedder:
    """Embeds with the model of ``source`` and keeps every vector in ``cache``.

    ``seconds`` sums up, by role, what encoding took whenever a vector was first made; ``wall`` is the time
    that the calls really took, reading the cache and loading the model included. ``known`` counts the
    texts that were in the cache.
    """

    def __init__(self, source: ModelSource, cache: EmbeddingCache) -> None:
        self.fingerprint = source.fingerprint()
        self.seconds: dict[Role, float] = {"query": 0.0, "passage": 0.0}
        self.wall = 0.0
        self.known = 0
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
        return self._fetch("query", texts, lambda missing: self._embedder.encode_queries(missing))

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""
        return self._fetch("passage", texts, lambda missing: self._embedder.encode_passages(missing))

    def _fetch(self, role: Role, texts: Sequence[str], encode: Encode) -> Vectors:
        start = time.monotonic()
        found = self._cache.fetch(
            self.fingerprint, role, texts, encode, prepare=lambda: self._embedder.dimension
        )
        self.wall += time.monotonic() - start
        self.seconds[role] += found.seconds
        self.known += found.known
        return found.vectors
