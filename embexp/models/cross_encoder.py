"""A cross-encoder, which reads query and passage together: slow, and better than vectors apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import ConfigError, ModelError
from embexp.models.embedding_cache import EmbeddingCache, Fetched
from embexp.models.loading import Overrides, fingerprint_of, offline
from embexp.models.sources import HubModel
from embexp.progress import progress, without_bars
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from embexp.models.embedding_cache import Vectors

BLOCK = 512
"""Pairs that are scored before their scores are written: the most that a kill can cost."""


@dataclass(frozen=True, kw_only=True)
class Reranker:
    """Scores pairs with a cross-encoder, and keeps every score on disk.

    Scores are the model's logits: a sigmoid of them rounds the best ones to the same number.

    Args:
        model: Its folder, or its name on the Hugging Face Hub (owner/name).
        max_tokens: Both texts together are cut here; None keeps the model's own limit.
        batch_size: How many pairs go through it at once.
        key: The configuration's key for ``model``, for messages.
        label: What the progress bar says.
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
        """Return a digest that changes with the weights and the length; downloads the model if need be."""
        return sha256_of("reranker", fingerprint_of(self._folder, Overrides()), self.max_tokens)

    def scores(self, pairs: Sequence[tuple[str, str]], cache: EmbeddingCache | None) -> Fetched:
        """Return a score for each (query, passage), higher is better, shape (len(pairs), 1).

        Args:
            pairs: What to score; a pair that comes twice is scored once.
            cache: Where scores are kept; None keeps none.

        Raises:
            ModelError: There is no such model, it gives several numbers for a pair, or one that is none.
        """
        import numpy as np

        texts = [json.dumps(pair, ensure_ascii=False) for pair in pairs]
        place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        distinct, parts = list(place), [Fetched(np.empty((0, 1), dtype=np.float32), 0.0, 0)]
        with progress(self.label, total=len(distinct)) as bar:
            for start in range(0, len(distinct), BLOCK):
                parts.append(self._block(distinct[start : start + BLOCK], cache))
                bar.advance(len(parts[-1].vectors))
        vectors = np.concatenate([part.vectors for part in parts])[[place[text] for text in texts]]
        return Fetched(vectors, sum(part.seconds for part in parts), sum(part.known for part in parts))

    def _block(self, texts: Sequence[str], cache: EmbeddingCache | None) -> Fetched:
        if cache is None:
            return Fetched(self._predict(texts), 0.0, 0)
        return cache.fetch(self.fingerprint(), "pair", texts, self._predict, prepare=lambda: self._loaded)

    def _predict(self, texts: Sequence[str]) -> Vectors:
        import numpy as np
        from torch.nn import Identity

        pairs = [tuple(json.loads(text)) for text in texts]
        found = self._loaded.predict(
            pairs, batch_size=self.batch_size, activation_fn=Identity(), show_progress_bar=False
        )
        scores = np.asarray(found, dtype=np.float32).reshape(len(texts), 1)
        if not np.isfinite(scores).all():
            raise ModelError(
                f"{self.key}={self.model}: it gives scores that are not numbers, so its weights are "
                "broken: choose another."
            )
        return scores

    @cached_property
    def _folder(self) -> Path:
        folder = Path(self.model).expanduser()
        if folder.is_dir():
            return folder
        if self.model.startswith((".", "/", "~")) or self.model.count("/") != 1:
            raise ModelError(
                f"{self.key}={self.model}: there is no such folder. Give the folder of a "
                "cross-encoder, or its name on the Hugging Face Hub, as in "
                "cross-encoder/ms-marco-MiniLM-L6-v2."
            )
        return HubModel(name=self.model, id=self.model).folder()

    @cached_property
    def _loaded(self) -> CrossEncoder:
        from sentence_transformers import CrossEncoder

        try:
            with offline(), without_bars():
                encoder = CrossEncoder(
                    str(self._folder),
                    local_files_only=True,
                    trust_remote_code=False,
                    model_kwargs={"use_safetensors": True},
                )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ModelError(
                f"{self.key}={self.model}: it does not load as a cross-encoder "
                f"({str(error).splitlines()[0][:300]}): choose another, or null for none."
            ) from error
        if encoder.num_labels != 1:
            raise ModelError(
                f"{self.key}={self.model} gives {encoder.num_labels} numbers for a pair: choose a "
                "cross-encoder that gives one score, such as cross-encoder/ms-marco-MiniLM-L6-v2."
            )
        if self.max_tokens is not None:
            encoder.max_length = min(self.max_tokens, encoder.max_length or self.max_tokens)
        return encoder
