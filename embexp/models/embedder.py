"""Turning texts into unit vectors with a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from embexp.errors import ConfigError, ModelError
from embexp.models.embedding_cache import EmbeddingCache, Role
from embexp.progress import progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.protocols import Vectors

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
