"""A cross-encoder, which reads query and passage together, to put a search's first hits in a better order."""

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

    from embexp.protocols import Vectors

BATCH = 32
STEP = 8 * BATCH
"""Pairs that go to the model in one call; the bar moves after each call."""


@dataclass(frozen=True, kw_only=True)
class Reranker:
    """Scores pairs with a cross-encoder, and keeps every score on disk.

    Scores are the model's logits: a sigmoid of them rounds the best ones to the same number.

    Args:
        model: Its folder, or its name on the Hugging Face Hub (owner/name).
    """

    model: str

    def __post_init__(self) -> None:
        if not self.model.strip():
            raise ConfigError(
                "benchmark.reranker is empty: give the folder of a cross-encoder, its name on the Hugging "
                "Face Hub, or null."
            )

    def fingerprint(self) -> str:
        """Return a digest that changes with the weights; the model is downloaded if need be."""
        return sha256_of("reranker", fingerprint_of(self._folder, Overrides()))

    def scores(self, pairs: Sequence[tuple[str, str]], cache: EmbeddingCache) -> Fetched:
        """Return a score for each (query, passage), higher is better, shape (len(pairs), 1).

        Raises:
            ModelError: There is no such model, it gives several numbers for a pair, or one that is none.
        """
        texts = [json.dumps(pair, ensure_ascii=False) for pair in pairs]
        return cache.fetch(self.fingerprint(), "pair", texts, self._predict, prepare=lambda: self._loaded)

    def _predict(self, texts: Sequence[str]) -> Vectors:
        """Score the longest pairs first: batches of like length waste no padding."""
        import numpy as np
        from torch.nn import Identity

        order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
        scores = np.empty((len(texts), 1), dtype=np.float32)
        with progress("Reranking", total=len(texts)) as bar:
            for start in range(0, len(order), STEP):
                some = order[start : start + STEP]
                pairs = [tuple(json.loads(texts[number])) for number in some]
                found = self._loaded.predict(
                    pairs, batch_size=BATCH, activation_fn=Identity(), show_progress_bar=False
                )
                scores[some, 0] = np.asarray(found, dtype=np.float32)
                bar.advance(len(some))
        if not np.isfinite(scores).all():
            raise ModelError(
                f"benchmark.reranker={self.model}: it gives scores that are not numbers, so its weights are "
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
                f"benchmark.reranker={self.model}: there is no such folder. Give the folder of a "
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
                f"benchmark.reranker={self.model}: it does not load as a cross-encoder "
                f"({str(error).splitlines()[0][:300]}): choose another, or null for none."
            ) from error
        if encoder.num_labels != 1:
            raise ModelError(
                f"benchmark.reranker={self.model} gives {encoder.num_labels} numbers for a pair: choose a "
                "cross-encoder that gives one score, such as cross-encoder/ms-marco-MiniLM-L6-v2."
            )
        return encoder
