"""Teachers: the labels themselves, a cross-encoder's scores, or another bi-encoder's vectors."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from embexp.errors import ConfigError
from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.models.embedding_cache import EmbeddingCache, Role, fetch_in_blocks
from embexp.models.encoder import PLURAL, ModelEmbedder
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from embexp.models.embedding_cache import Vectors
    from embexp.models.sources import ModelSource


class Teacher(Protocol):
    """Says how well passages answer queries, and knows better than the model in training."""

    def fingerprint(self) -> str:
        """Return a digest that changes when its scores do."""

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return a score for each (query, passage), shape (len(pairs),); higher is better."""


@runtime_checkable
class VectorTeacher(Teacher, Protocol):
    """A teacher that embeds."""

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors, shape (len(texts), dimension)."""

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors, shape (len(texts), dimension)."""


NO_TEACHER = (
    "This loss learns from a teacher, and loss.teacher is not set: choose one, as in "
    "teacher@loss.teacher=cross_encoder, bi_encoder or labels."
)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The labels of the pairs as a teacher's scores: several judged passages of each query.

    Args:
        scale: What a label of 1 (the highest there is) counts, beside the student's scaled cosine.
    """

    scale: float = 20.0

    def fingerprint(self) -> str:
        """Return a digest of the settings; the labels are part of the pairs."""
        return f"labels {self.scale:g}"

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Refuse: labels say nothing of pairs that were not judged.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"The labels of the training pairs cannot score {len(pairs)} other pairs: name a model, as in "
            "teacher@trainer.negative_scorer=cross_encoder."
        )


@dataclass(frozen=True, kw_only=True)
class CrossEncoderTeacher:
    """A cross-encoder: it reads query and passage together, which is slow and exact.

    Args:
        model: Its folder, or its name on the Hugging Face Hub (owner/name).
        max_tokens: Both texts together are cut here; None keeps the model's own limit.
        batch_size: How many pairs go through it at once.
        cache: The folder that keeps its scores; None keeps none.
    """

    model: str
    max_tokens: int | None = None
    batch_size: int = 32
    cache: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"teacher.batch_size={self.batch_size}: must be 1 or more.")
        if self.max_tokens is not None and self.max_tokens < 8:
            raise ConfigError(f"teacher.max_tokens={self.max_tokens}: must be 8 or more, or null.")

    def fingerprint(self) -> str:
        """Return a digest that changes with the weights or the length.

        Raises:
            ModelError: There is no such model.
        """
        return self._scorer().fingerprint()

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return the logit of each (query, passage), shape (len(pairs),).

        Raises:
            ModelError: There is no such model, it gives several numbers for a pair, or one that is none.
        """
        found: Vectors = self._scorer().scores(pairs, _cache_at(self.cache)).vectors[:, 0]
        return found

    def _scorer(self) -> CrossEncoderScorer:
        return CrossEncoderScorer(
            model=self.model,
            max_tokens=self.max_tokens,
            batch_size=self.batch_size,
            key="teacher.model",
            label="Scoring with the teacher",
        )


@dataclass(frozen=True, kw_only=True)
class BiEncoderTeacher:
    """Another embedding model, larger or trained before: its similarities, or its vectors.

    Args:
        model: The model, as an option of the group ``model``.
        scale: A score is this many times the cosine, to be like a cross-encoder's logits.
        batch_size: How many texts go through it at once.
        cache: The folder that keeps its vectors; None keeps none.
    """

    model: Any
    scale: float = 20.0
    batch_size: int = 64
    cache: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ConfigError(f"teacher.scale={self.scale}: must be above 0.")

    def fingerprint(self) -> str:
        """Return a digest that changes with the weights, the prompts or the scale."""
        return sha256_of("bi-encoder", self.model.fingerprint(), self.scale)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return the scaled cosine of each (query, passage), shape (len(pairs),)."""
        import numpy as np

        queries = self.encode_queries([query for query, _ in pairs])
        passages = self.encode_passages([passage for _, passage in pairs])
        found: Vectors = self.scale * np.einsum("ij,ij->i", queries, passages)
        return found

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors of queries, shape (len(texts), dimension)."""
        return self._encode("query", texts)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors of passages, shape (len(texts), dimension)."""
        return self._encode("passage", texts)

    def _encode(self, role: Role, texts: Sequence[str]) -> Vectors:
        source: ModelSource = self.model
        fingerprint = source.fingerprint()

        @functools.cache
        def embedder() -> ModelEmbedder:
            return ModelEmbedder(source.load(), fingerprint=fingerprint, batch_size=self.batch_size)

        def encode(block: Sequence[str]) -> Vectors:
            return embedder().encode_queries(block) if role == "query" else embedder().encode_passages(block)

        return fetch_in_blocks(
            _cache_at(self.cache),
            fingerprint,
            role,
            texts,
            encode,
            label=f"Encoding {PLURAL[role]} with the teacher",
            prepare=embedder,
        ).vectors


def _cache_at(folder: str | None) -> EmbeddingCache | None:
    return EmbeddingCache(Path(folder)) if folder is not None else None
