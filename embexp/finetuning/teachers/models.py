"""Models as teachers: a cross-encoder's scores, or another bi-encoder's vectors."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Interval

from embexp.errors import ConfigError, ModelError
from embexp.finetuning.teachers.teacher import Teacher
from embexp.models.adapted import service_of
from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.models.embedding_cache import EmbeddingCache, Role, fetch_in_blocks
from embexp.models.encoder import PLURAL, ModelEmbedder
from embexp.ranges import Positive, check_ranges
from embexp.storage.files import sha256_of
from embexp.user_code import identity

if TYPE_CHECKING:
    from embexp.models.sources import ModelSource
    from embexp.models.vector_files import Vectors


@dataclass(frozen=True, kw_only=True)
class CrossEncoderTeacher(Teacher):
    """A cross-encoder, which reads query and passage together: slow, with the best scores.

    Args:
        model: Its folder, or its name on the Hugging Face Hub (owner/name).
        max_tokens: Both texts together are truncated to this length; None keeps the model's own limit.
        batch_size: How many pairs it scores at once.
        cache: The folder that keeps its scores; None keeps none.
    """

    model: str
    max_tokens: Annotated[int, Interval(ge=8, le=1_000_000)] | None = None
    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)] = 32
    cache: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_ranges(self, "teacher")

    def fingerprint(self) -> str:
        """Return a digest that changes with the weights or the length.

        Raises:
            ModelError: There is no such model.
        """
        return self._scorer().fingerprint()

    def check(self) -> None:
        """Check that the model is there; download it if necessary.

        Raises:
            ModelError: It is not.
        """
        _check(self)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return the logit of each (query, passage), shape (len(pairs),).

        Raises:
            ModelError: There is no such model, it gives several numbers for a pair, or one that is none.
        """
        scores: Vectors = self._scorer().scores(pairs, cache_at(self.cache)).vectors[:, 0]
        return scores

    def _scorer(self) -> CrossEncoderScorer:
        return CrossEncoderScorer(
            model=self.model,
            max_tokens=self.max_tokens,
            batch_size=self.batch_size,
            key="teacher.model",
            label="Scoring with the teacher",
        )


@dataclass(frozen=True, kw_only=True)
class BiEncoderTeacher(Teacher):
    """Another embedding model, larger or trained before: its similarities, or its vectors.

    Args:
        model: The model, as an option of the group ``model``.
        scale: A score is the cosine times this, which brings it to the range of a cross-encoder's logits.
        batch_size: How many texts it embeds at once.
        cache: The folder that keeps its vectors; None keeps none.
    """

    model: Any
    scale: Positive = 20.0
    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)] = 64
    cache: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_ranges(self, "teacher")
        if service_of(self.model) is not None:
            raise ConfigError(
                f"The teacher's model {self.model.name} is behind a service, and a teacher's weights are "
                "loaded: choose a model with weights, such as bge_base, or "
                "teacher@loss.teacher=llm_ranker to ask a service."
            )

    def fingerprint(self) -> str:
        """Return a digest that changes with the weights, the prompts or the scale."""
        return sha256_of("bi-encoder", identity(self.model), self.scale)

    def check(self) -> None:
        """Check that the model is there; download it if necessary.

        Raises:
            ModelError: It is not.
        """
        _check(self)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return the scaled cosine of each (query, passage), shape (len(pairs),)."""
        import numpy as np

        queries = self.encode_queries([query for query, _ in pairs])
        passages = self.encode_passages([passage for _, passage in pairs])
        scores: Vectors = self.scale * np.einsum("ij,ij->i", queries, passages)
        return scores

    def vectors(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return the unit vectors of each (query, passage), shape (len(pairs), 2, dimension)."""
        import numpy as np

        queries = self.encode_queries([query for query, _ in pairs])
        return np.stack([queries, self.encode_passages([passage for _, passage in pairs])], axis=1)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors of queries, shape (len(texts), dimension)."""
        return self._encode("query", texts)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return unit vectors of passages, shape (len(texts), dimension)."""
        return self._encode("passage", texts)

    def _encode(self, role: Role, texts: Sequence[str]) -> Vectors:
        source: ModelSource = self.model
        fingerprint = identity(source)

        @functools.cache
        def embedder() -> ModelEmbedder:
            return ModelEmbedder(source.load(), fingerprint=fingerprint, batch_size=self.batch_size)

        def encode(block: Sequence[str]) -> Vectors:
            return embedder().encode_queries(block) if role == "query" else embedder().encode_passages(block)

        return fetch_in_blocks(
            cache_at(self.cache),
            fingerprint,
            role,
            texts,
            encode,
            label=f"Encoding {PLURAL[role]} with the teacher",
            prepare=embedder,
        ).vectors


def _check(teacher: Teacher) -> None:
    """Raise a ModelError that names a teacher without a model, if this one's cannot be had."""
    try:
        teacher.fingerprint()
    except ModelError as error:
        raise ModelError(
            f"The teacher cannot be had. {error} Or choose teacher@loss.teacher=hybrid, which needs no other "
            "model."
        ) from error


def cache_at(folder: str | None) -> EmbeddingCache | None:
    """Return the cache in a folder; None where there is no folder."""
    return EmbeddingCache(Path(folder)) if folder is not None else None
