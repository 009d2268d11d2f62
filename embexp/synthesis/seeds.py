"""Which chunks to ask about, so that a knowledge base is covered evenly, and what to show beside them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from embexp.data.records import Chunk
from embexp.retrieval.index import Hit, Index
from embexp.storage.files import sha256_of
from embexp.synthesis.prompts import shorten
from embexp.synthesis.query_text import words

QUERY_CHARACTERS = 1000
REMEMBERED = 2048


def even_order(chunks: Sequence[Chunk], *, seed: int, least_words: int) -> list[Chunk]:
    """Return chunks by turns over documents: one of each, then a second of each, and so on.

    Both the documents and the chunks of each are ordered by a digest of their ids, so that a document that
    comes or goes leaves the order of the others as it was.

    Args:
        chunks: The corpus.
        seed: Draws the order.
        least_words: Chunks with fewer words say too little to be asked about.
    """
    by_document: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        if len(words(chunk.text[:QUERY_CHARACTERS])) >= least_words:
            by_document[chunk.document_id].append(chunk)
    for own in by_document.values():
        own.sort(key=lambda chunk: sha256_of(seed, chunk.id))
    documents = sorted(by_document, key=lambda document: sha256_of(seed, document))
    longest = max(map(len, by_document.values()), default=0)
    return [
        by_document[document][turn]
        for turn in range(longest)
        for document in documents
        if turn < len(by_document[document])
    ]


@dataclass(frozen=True)
class SerialIndex:
    """An index for two threads: a language model may draw its requests, which search, in its own."""

    index: Index

    @cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Search while nobody else does."""
        with self._lock:
            return self.index.search(queries, k=k)


@dataclass(frozen=True)
class Neighbours:
    """Context for a chunk: the nearest chunks by the index, or those beside it in its document.

    Args:
        chunks: The corpus.
        index: A search over the corpus; None takes the chunks before and after.
        count: How many to return.
    """

    chunks: Sequence[Chunk]
    index: Index | None
    count: int

    def of(self, chunk: Chunk) -> Sequence[Chunk]:
        """Return up to ``count`` other chunks, nearest first; texts equal to the chunk's own are left out."""
        return self._remembered(chunk) if self.count else ()

    @cached_property
    def _remembered(self) -> Callable[[Chunk], Sequence[Chunk]]:
        # A prompt and the reading of its answer need the same neighbours, one after the other.
        return lru_cache(maxsize=REMEMBERED)(self._of)

    def _of(self, chunk: Chunk) -> Sequence[Chunk]:
        found = self._near(chunk) if self.index is not None else self._beside(chunk)
        result: list[Chunk] = []
        for other in found:
            if other.id != chunk.id and other.text not in {chunk.text, *(kept.text for kept in result)}:
                result.append(other)
        return tuple(result[: self.count])

    @cached_property
    def _by_id(self) -> Mapping[str, Chunk]:
        return {chunk.id: chunk for chunk in self.chunks}

    @cached_property
    def _by_place(self) -> Mapping[tuple[str, int], Chunk]:
        return {(chunk.document_id, chunk.position): chunk for chunk in self.chunks}

    def _near(self, chunk: Chunk) -> Iterator[Chunk]:
        if self.index is None:
            return
        (hits,) = self.index.search([shorten(chunk.passage, QUERY_CHARACTERS)], k=self.count + 3)
        for hit in hits:
            if hit.id in self._by_id:
                yield self._by_id[hit.id]

    def _beside(self, chunk: Chunk) -> Iterator[Chunk]:
        for step in range(1, self.count + 1):
            for at in (chunk.position + step, chunk.position - step):
                if found := self._by_place.get((chunk.document_id, at)):
                    yield found
