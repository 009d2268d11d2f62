"""What a data set is, and the empty one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from embexp.data.records import Document, Pair, Unit


class Dataset(Protocol):
    """A source of documents, of labelled pairs, or of both."""

    @property
    def name(self) -> str:
        """The name in tables and file names."""

    @property
    def unit(self) -> Unit:
        """What relevance is judged by: whole documents, or chunks."""

    def fingerprint(self) -> str:
        """Return a digest of everything that shapes what this set yields, cheap beside reading it."""

    def documents(self) -> Iterator[Document]:
        """Yield the corpus, one document at a time, in a fixed order."""

    def labelled(self) -> Iterator[Pair]:
        """Yield the pairs that people judged; nothing for a bare knowledge base."""


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
