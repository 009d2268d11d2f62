"""The passage of a document that answers a question, where people named the document alone."""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from embexp.data.records import Chunk, Pair
from embexp.data.words import search_terms
from embexp.errors import DataError

log = logging.getLogger(__name__)


def with_passages(pairs: Iterable[Pair], chunks: Sequence[Chunk]) -> Iterator[Pair]:
    """Yield pairs as they are, but those that name a document alone with a passage of it.

    That is the chunk that shares most words with the question, each weighted by how rare it is among the
    chunks; of equal ones the first.

    Args:
        pairs: The pairs; one without ``positive`` gets the text and the id of a chunk.
        chunks: The corpus.

    Raises:
        DataError: None of the documents that pairs name is in the corpus.
    """
    finder: _Finder | None = None
    found, missing = 0, []
    for pair in pairs:
        if pair.positive or not pair.document_id:
            yield pair
            continue
        finder = finder or _Finder(chunks)
        chunk = finder.best(pair.query, pair.document_id)
        if chunk is None:
            missing.append(pair)
            continue
        found += 1
        yield replace(pair, positive=chunk.passage, chunk_id=chunk.id)
    if missing:
        problem = (
            f"{len(missing):,} questions name a document that has no text or was left out, such as "
            f"{missing[0].document_id!r} for {missing[0].query[:80]!r}"
        )
        if not found:
            raise DataError(f"{problem}: correct the names, or dataset.include and dataset.exclude.")
        log.warning("%s; they are left out.", problem)


class _Finder:
    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks: dict[str, list[tuple[Chunk, frozenset[str]]]] = defaultdict(list)
        holding: Counter[str] = Counter()
        for chunk in chunks:
            words = _words(chunk.passage)
            holding.update(words)
            self._chunks[chunk.document_id].append((chunk, words))
        self._weights = {word: math.log1p(len(chunks) / count) for word, count in holding.items()}

    def best(self, query: str, document: str) -> Chunk | None:
        asked = _words(query)

        def shared(item: tuple[Chunk, frozenset[str]]) -> float:
            return math.fsum(self._weights[word] for word in asked & item[1])

        return max(self._chunks[document], key=shared)[0] if document in self._chunks else None


def _words(text: str) -> frozenset[str]:
    return frozenset(search_terms(text.casefold()))
