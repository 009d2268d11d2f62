"""No synthesis: the data set brings its own labelled pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from embexp.types import Chunk, Document, Pair


@dataclass(frozen=True, kw_only=True)
class NoSynthesis:
    """Writes no pairs at all."""

    def pairs(self, chunks: Sequence[Chunk], documents: Mapping[str, Document]) -> Iterator[Pair]:  # noqa: ARG002
        """Yield nothing."""
        yield from ()
