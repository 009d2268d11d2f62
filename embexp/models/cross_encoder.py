"""A cross-encoder, which reads query and passage together: slower than vectors, and more accurate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ConfigError, ModelError
from embexp.models.embedding_cache import EmbeddingCache, Fetched, fetch_in_blocks
from embexp.models.folder import Overrides, fingerprint_of, load_model
from embexp.models.sources import model_folder
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from embexp.models.vector_files import Vectors

REMEDY = (
    "Give the folder of a cross-encoder, or its name on the Hugging Face Hub, as in "
    "cross-encoder/ms-marco-MiniLM-L6-v2."
)


@dataclass(frozen=True, kw_only=True)
class CrossEncoderScorer:
    """Scores (query, passage) pairs with a cross-encoder, which is loaded on first use.

    Scores are the model's logits: a sigmoid would round the highest ones to the same number.

    Args:
        model: The cross-encoder's folder, or its name on the Hugging Face Hub (owner/name).
        max_tokens: The length at which query and passage together are cut; None keeps the model's own.
        batch_size: Pairs per batch.
        key: The configuration key that holds ``model``, for error messages.
        label: The progress bar's text.
    """

    model: str
    max_tokens: int | None = None
    batch_size: int = 32
    key: str = "benchmark.reranker"
    label: str = "Reranking"

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ConfigError(
                f"{self.key} is empty: give the folder of a cross-encoder, its name on the Hugging "
                "Face Hub, or null."
            )

    def fingerprint(self) -> str:
        """Return a digest of the weights and the length; download the model if necessary."""
        return sha256_of("reranker", fingerprint_of(self._folder, Overrides()), self.max_tokens)

    def scores(self, pairs: Sequence[tuple[str, str]], cache: EmbeddingCache | None) -> Fetched:
        """Return a score for each (query, passage), higher is better, shape (len(pairs), 1).

        Args:
            pairs: What to score; a pair that occurs twice is scored once.
            cache: Where scores are kept on disk; None keeps none.

        Raises:
            ModelError: There is no such model, or it gives several numbers or no finite one for a pair.
        """
        fingerprint = self.fingerprint() if cache else ""
        texts = [json.dumps(pair, ensure_ascii=False) for pair in pairs]
        return fetch_in_blocks(
            cache,
            fingerprint,
            "pair",
            texts,
            self._predict,
            label=self.label,
            prepare=lambda: self._loaded,
        )

    def _predict(self, texts: Sequence[str]) -> Vectors:
        import numpy as np
        from torch.nn import Identity

        if not texts:
            return np.empty((0, 1), dtype=np.float32)
        pairs = [tuple(json.loads(text)) for text in texts]
        logits = self._loaded.predict(
            pairs, batch_size=self.batch_size, activation_fn=Identity(), show_progress_bar=False
        )
        scores = np.asarray(logits, dtype=np.float32).reshape(len(texts), 1)
        if not np.isfinite(scores).all():
            raise ModelError(
                f"{self.key}={self.model}: its scores are not finite numbers, so its weights are broken: "
                "choose another."
            )
        return scores

    @cached_property
    def _folder(self) -> Path:
        return model_folder(self.model, key=self.key, remedy=REMEDY)

    @cached_property
    def _loaded(self) -> CrossEncoder:
        from sentence_transformers import CrossEncoder

        encoder = load_model(
            CrossEncoder,
            self._folder,
            failure=f"{self.key}={self.model}: it does not load as a cross-encoder",
            remedy="choose another, or null for none",
        )
        if encoder.num_labels != 1:
            raise ModelError(
                f"{self.key}={self.model} gives {encoder.num_labels} numbers for a pair: choose a "
                "cross-encoder that gives one score, such as cross-encoder/ms-marco-MiniLM-L6-v2."
            )
        if self.max_tokens is not None:
            encoder.max_length = min(self.max_tokens, encoder.max_length or self.max_tokens)
        return encoder
