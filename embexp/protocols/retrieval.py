"""Indexes, and the tasks that are asked of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from embexp.protocols.models import Embedder
from embexp.types import (
    Chunk,
    Hit,
    Pair,
    RetrievalTask,
    Unit,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class Index(Protocol):
    """A searchable set of chunks."""

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Return at most k hits for each query, best first; ties are broken by chunk id."""


class Retriever(Protocol):
    """Builds indexes; holds no state of its own."""

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> Index:
        """Index the chunks under ``path`` and return something that can be searched."""


class Benchmark(Protocol):
    """Turns a corpus and held-out pairs into a retrieval task."""

    def task(self, chunks: Sequence[Chunk], pairs: Sequence[Pair], *, unit: Unit) -> RetrievalTask:
        """Return the task that scores a system on ``pairs``."""


class Suite(Protocol):
    """Tasks of any kind that score a model by an evaluation of their own."""

    @property
    def tasks(self) -> Sequence[str]:
        """The tasks' names."""

    def check(self) -> None:
        """Raise ConfigError for a task that does not exist."""

    def fingerprint(self, name: str) -> str:
        """Return a text that changes when the scores of a task do."""

    def score(self, name: str, model: SentenceTransformer) -> dict[str, Any]:
        """Return ``task``, ``kind``, ``metric`` and ``value`` of a model on one task."""
