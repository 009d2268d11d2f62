"""The data set of a synthesis that invents its own passages: nothing to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from embexp.types import Document, Pair, Unit


@dataclass(frozen=True, kw_only=True)
class NoDocuments:
    """Holds nothing; the written pairs are the corpus."""

    name: str = "entries"
    unit: Unit = "document"

    def fingerprint(self) -> str:
        """Return an empty digest: there is nothing that could change."""
        return ""

    def documents(self) -> Iterator[Document]:
        """Yield nothing."""
        yield from ()

    def labelled(self) -> Iterator[Pair]:
        """Yield nothing."""
        yield from ()
