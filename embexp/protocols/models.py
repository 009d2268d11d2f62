"""Models that embed, and models that teach."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from embexp.protocols.texts import TokenCounter

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from sentence_transformers import SentenceTransformer

    Vectors = npt.NDArray[np.float32]


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


class ModelSource(Protocol):
    """A model that can be loaded on demand; building one costs nothing."""

    @property
    def name(self) -> str:
        """The name in tables."""

    def fingerprint(self) -> str:
        """Return a digest that changes when the weights or the prompts do."""

    def load(self) -> SentenceTransformer:
        """Load the weights, ready to train or to encode."""

    def tokens(self) -> TokenCounter:
        """Return a counter that uses this model's tokenizer, without loading the weights."""


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
