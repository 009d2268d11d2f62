"""No synthesis: the data set brings its own labelled pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from embexp.protocols import LLM, Index
from embexp.types import Chunk, Document, Pair


@dataclass(frozen=True, kw_only=True)
class NoSynthesis:
    """Writes no pairs at all."""

    def fingerprint(self) -> str:
        """Return an empty digest: no file shapes it."""
        return ""

    def pairs(
        self,
        chunks: Sequence[Chunk],  # noqa: ARG002
        documents: Mapping[str, Document],  # noqa: ARG002
        *,
        llm: LLM | None = None,  # noqa: ARG002
        index: Index | None = None,  # noqa: ARG002
    ) -> Iterator[Pair]:
        """Yield nothing."""
        yield from ()

    def report(self) -> Mapping[str, object]:
        """Return nothing: there is nothing to tell."""
        return {}
