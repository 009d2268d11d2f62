"""Indexes, and the tasks that are asked of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from embexp.protocols.models import Embedder
from embexp.types import (
    Chunk,
    Hit,
    Pair,
    RetrievalTask,
    Unit,
)

if TYPE_CHECKING:
    pass


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
