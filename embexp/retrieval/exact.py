"""Exact nearest neighbours: the reference by which models are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Interval

from embexp.data.records import Chunk
from embexp.memory import new_matrix
from embexp.models.encoder import Embedder
from embexp.ranges import check_ranges
from embexp.retrieval.index import (
    Hit,
    best_columns,
    check_k,
    empty_corpus,
    encoded_blocks,
    query_vectors,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from embexp.models.vector_files import Vectors

QUERIES_PER_BLOCK = 256
DECIMALS = 6
"""Of a score. A matrix product rounds equal vectors differently from tile to tile: rounded, duplicates of a
passage have the same score and stay in the order of their ids."""
_ROUNDING = 10.0**-DECIMALS
"""More than rounding changes a score by."""


@dataclass(frozen=True, kw_only=True)
class ExactRetriever:
    """Compares every query with every passage; nothing is approximated.

    The vectors are in memory, or in a temporary file where they would take most of it.

    Args:
        block: Passages compared at a time. Memory beyond the vectors is 256 queries x block floats.
    """

    approximate: ClassVar[bool] = False
    block: Annotated[int, Interval(ge=1, le=100_000_000)] = 16_384

    def __post_init__(self) -> None:
        check_ranges(self, "retriever")

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> ExactIndex:
        """Encode the chunks and keep their vectors.

        Raises:
            RetrievalError: There are no chunks, or a vector is not finite.
            MemoryShortError: The vectors do not fit a limit on the address space.
        """
        import numpy as np

        corpus = chunks if isinstance(chunks, Sequence) else list(chunks)
        if not corpus:
            raise empty_corpus(path)
        # Vectors go right to the rows in which they are searched: there is never a second copy of them all.
        order = sorted(range(len(corpus)), key=lambda at: corpus[at].id)
        row_of = np.empty(len(order), dtype=np.int64)
        row_of[order] = np.arange(len(order))
        vectors: Vectors | None = None
        start = 0
        for block, part in encoded_blocks(corpus, embedder):
            if vectors is None:
                what = f"Exact search over {len(corpus):,} passages"
                vectors = new_matrix(len(corpus), part.shape[1], path, what=what)
            vectors[row_of[start : start + len(block)]] = part
            start += len(block)
        assert vectors is not None
        return ExactIndex([corpus[at].id for at in order], vectors, embedder, self.block)


class ExactIndex:
    """Unit vectors in memory; the score of a hit is its cosine similarity to the query.

    Args:
        ids: The chunks' ids.
        vectors: Their unit vectors, float32, shape (len(ids), dimension).
        embedder: Encodes the queries; None if only ``nearest`` is called.
        block: Passages compared at a time.
    """

    def __init__(
        self, ids: Sequence[str], vectors: Vectors, embedder: Embedder | None, block: int = 16_384
    ) -> None:
        import numpy as np

        # With rows in the order of their ids, a stable sort by score breaks ties by id.
        order = sorted(range(len(ids)), key=lambda row: ids[row])
        self._ids = [ids[row] for row in order]
        in_order = order == list(range(len(order)))
        self._vectors = vectors if in_order else np.ascontiguousarray(vectors[order])
        self._embedder = embedder
        self._block = block

    @property
    def nbytes(self) -> int:
        """The size of the vectors in bytes."""
        return int(self._vectors.nbytes)

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return int(self._vectors.shape[1])

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Return each query's ``k`` nearest chunks, the best first; equal scores are ordered by chunk id.

        Raises:
            RetrievalError: ``k`` is less than 1, or a query's vector is not finite.
        """
        check_k(k)
        if not queries:
            return []
        if self._embedder is None:
            raise TypeError("this index was built without an embedder: call nearest with vectors instead")
        return self.nearest(query_vectors(list(queries), self._embedder), k=k)

    def nearest(self, vectors: Vectors, *, k: int) -> list[list[Hit]]:
        """Return the nearest chunks of query vectors of unit length, shape (queries, dimension)."""
        check_k(k)
        return [
            [Hit(self._ids[row], float(score)) for row, score in zip(rows, scores, strict=True)]
            for start in range(0, len(vectors), QUERIES_PER_BLOCK)
            for rows, scores in self._top(vectors[start : start + QUERIES_PER_BLOCK], k)
        ]

    def cosines(self, vectors: Vectors, ids: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the cosines of each query vector to the chunks with these ids, one list per query."""
        rows = self._rows
        return [
            (self._vectors[[rows[id] for id in wanted]] @ vector).tolist()
            for vector, wanted in zip(vectors, ids, strict=True)
        ]

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {id: row for row, id in enumerate(self._ids)}

    def _top(self, queries: Vectors, k: int) -> Iterator[tuple[npt.NDArray[np.int64], Vectors]]:
        """Yield the rows and scores of each query's best passages, block by block."""
        import numpy as np

        rows = np.empty((len(queries), 0), dtype=np.int64)
        scores = np.empty((len(queries), 0), dtype=np.float32)
        for start in range(0, len(self._ids), self._block):
            products = queries @ self._vectors[start : start + self._block].T
            if scores.shape[1] == k:
                _improve(rows, scores, products, start)
                continue
            np.round(products, DECIMALS, out=products)
            numbers = np.broadcast_to(np.arange(start, start + products.shape[1]), products.shape)
            rows = np.concatenate([rows, numbers], axis=1)
            scores = np.concatenate([scores, products], axis=1)
            best = best_columns(scores, k)
            rows, scores = np.take_along_axis(rows, best, 1), np.take_along_axis(scores, best, 1)
        yield from zip(rows, scores, strict=True)


def _improve(rows: npt.NDArray[np.int64], scores: Vectors, products: Vectors, start: int) -> None:
    """Put the better ones of some later passages in place of the worst so far, for each query.

    Args:
        rows: The rows of each query's best passages so far, best first; changed in place.
        scores: Their scores, likewise.
        products: The scores of the passages from row ``start`` on, not rounded.
        start: The first of their rows. All are behind ``rows``, so that they lose ties.
    """
    import numpy as np

    k = rows.shape[1]
    better = products > scores[:, -1:] - _ROUNDING
    for query in np.flatnonzero(better.any(axis=1)):
        columns = np.flatnonzero(better[query])
        found = np.concatenate([scores[query], np.round(products[query, columns], DECIMALS)])
        best = np.argsort(-found, kind="stable")[:k]
        rows[query] = np.concatenate([rows[query], start + columns])[best]
        scores[query] = found[best]
