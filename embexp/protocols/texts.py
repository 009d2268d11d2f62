"""Where documents, chunks and questions come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from embexp.types import (
    Chunk,
    Document,
    Pair,
    Question,
    Unit,
)

if TYPE_CHECKING:
    pass


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


class TokenCounter(Protocol):
    """Counts tokens as the model in use does."""

    @property
    def limit(self) -> int:
        """How many tokens of a text the model reads, special tokens left out."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's length in tokens, special tokens left out."""


class Chunker(Protocol):
    """Cuts documents into passages that fit the model."""

    def chunk(self, document: Document, tokens: TokenCounter) -> list[Chunk]:
        """Return the document's chunks in reading order; an empty document has none."""


class Questions(Protocol):
    """A source of questions of the user's own."""

    def questions(self) -> list[Question]:
        """Return the questions, with the ids of what answers them or all without."""


@runtime_checkable
class Checked(Protocol):
    """A benchmark that can tell before the training that it cannot be scored after it."""

    def check(self, chunks: Sequence[Chunk], *, judge: bool) -> None:
        """Raise a DataError or ConfigError; ``judge`` says whether there is a language model."""
