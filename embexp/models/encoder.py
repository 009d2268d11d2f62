"""Turning texts into unit vectors: with a loaded model, one loaded on demand, or one in training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from embexp.errors import ConfigError, ModelError
from embexp.models.embedding_cache import EmbeddingCache, Encode, Role
from embexp.models.sources import ModelSource
from embexp.progress import progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.models.embedding_cache import Vectors


class Embedder(Protocol):
    """A loaded model that turns texts into unit vectors."""

    @property
    def fingerprint(self) -> str:
        """A digest of the weights and the prompts."""

    @property
    def dimension(self) -> int:
        """The length of a vector."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension)."""


PLURAL = {"query": "queries", "passage": "passages"}
BATCH, FEWEST = 64, 16
CHARACTERS = 6_400
"""About what goes through at once on a CPU: 64 texts of 100 characters, 16 of 400 and more."""
BATCHES_PER_STEP = 4
"""How many batches go to the model in one call; the bar moves after each call."""


class ModelEmbedder:
    """An Embedder over a loaded sentence-transformers model.

    The model's prompts ``query`` and ``document`` go before the texts. Scores are always computed in the
    precision of the loaded weights, float32 unless you changed it.

    Args:
        model: The model; it may go on training between calls if there is no cache.
        fingerprint: A digest of its weights and prompts, under which vectors are cached.
        batch_size: How many texts go through the model at once; None takes 64, and on a CPU fewer long ones.
        cache: Where vectors are kept on disk, or None to encode every time.
        label: What is being encoded, for the progress bar.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        *,
        fingerprint: str,
        batch_size: int | None = None,
        cache: EmbeddingCache | None = None,
        label: str = "Encoding",
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"The batch size for encoding is {batch_size}: give 1 or more, such as 64.")
        self.fingerprint = fingerprint
        self._model = model
        self._batch_size = batch_size
        self._cache = cache
        self._label = label

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self._model.get_embedding_dimension() or 0)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension).

        Raises:
            ModelError: The model gave a vector with a number that is not finite.
        """
        return self._through_cache("query", texts, self._model.encode_query)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return L2-normalised float32 vectors, shape (len(texts), dimension).

        Raises:
            ModelError: The model gave a vector with a number that is not finite.
        """
        return self._through_cache("passage", texts, self._model.encode_document)

    def _through_cache(self, role: Role, texts: Sequence[str], encode: Callable[..., Any]) -> Vectors:
        import numpy as np

        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)

        def missing(block: Sequence[str]) -> Vectors:
            return self._encode(block, encode, f"{self._label} {PLURAL[role]}")

        if self._cache is None:
            return missing(texts)
        return self._cache.get_or_encode(self.fingerprint, role, texts, missing)

    def _encode(self, texts: Sequence[str], encode: Callable[..., Any], label: str) -> Vectors:
        """Encode the longest texts first: batches of like length waste no padding, and the bar speeds up."""
        import numpy as np

        order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
        parts, start = [], 0
        with progress(label, total=len(texts)) as bar:
            while start < len(order):
                size = self._size(texts[order[start]])
                batch = [texts[number] for number in order[start : start + size * BATCHES_PER_STEP]]
                start += len(batch)
                found = encode(
                    batch,
                    batch_size=size,
                    normalize_embeddings=True,
                    convert_to_numpy=True,
                    show_progress_bar=False,
                )
                parts.append(np.asarray(found, dtype=np.float32))
                bar.advance(len(batch))
        vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
        vectors[order] = np.concatenate(parts)
        _check_finite(vectors, texts)
        return vectors

    def _size(self, longest: str) -> int:
        """Return how many texts go through at once: on a CPU padding costs more than small batches do."""
        if self._batch_size is not None:
            return self._batch_size
        if self._model.device.type != "cpu":
            return BATCH
        return min(max(CHARACTERS // max(len(longest), 1), FEWEST), BATCH)


def _check_finite(vectors: Vectors, texts: Sequence[str]) -> None:
    import numpy as np

    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise ModelError(
            f"The model gave no finite vector for {len(broken)} of {len(texts)} texts, the first being "
            f"{texts[broken[0]][:60]!r}: its weights are broken, as after a training that diverged. "
            "Train again with a lower learning rate, or choose another model."
        )


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


TEXTS_PER_BLOCK = 1024


def encode_queries(model: SentenceTransformer, texts: Sequence[str], *, batch_size: int) -> Vectors:
    """Return unit vectors of queries, shape (len(texts), dimension); each distinct text is encoded once."""
    return _encode(model.encode_query, texts, batch_size=batch_size, what="Encoding training queries")


def encode_passages(model: SentenceTransformer, texts: Sequence[str], *, batch_size: int) -> Vectors:
    """Return unit vectors of passages, shape (len(texts), dimension); each distinct text is encoded once."""
    return _encode(model.encode_document, texts, batch_size=batch_size, what="Encoding training passages")


def _encode(encode, texts: Sequence[str], *, batch_size: int, what: str) -> Vectors:  # type: ignore[no-untyped-def]
    import numpy as np

    positions: dict[str, int] = {}
    where = [positions.setdefault(text, len(positions)) for text in texts]
    distinct, blocks = list(positions), []
    with progress(what, total=len(distinct)) as bar:
        for start in range(0, len(distinct), TEXTS_PER_BLOCK):
            block = distinct[start : start + TEXTS_PER_BLOCK]
            blocks.append(
                encode(block, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False)
            )
            bar.advance(len(block))
    vectors: Vectors = np.concatenate(blocks)[where].astype(np.float32, copy=False)
    return vectors
