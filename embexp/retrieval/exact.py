"""Exact nearest neighbours: the reference by which models are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Interval

from embexp.data.records import Chunk
from embexp.models.encoder import Embedder
from embexp.ranges import check_ranges
from embexp.retrieval.index import (
    Hit,
    best_columns,
    blocks,
    check_k,
    empty_corpus,
    passage_vectors,
    query_vectors,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from embexp.models.vector_files import Vectors

QUERIES_PER_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class ExactRetriever:
    """Compares every query with every passage; nothing is approximated and nothing is written to disk.

    Args:
        block: Passages compared at a time. Memory beyond the vectors is 256 queries x block floats.
    """

    approximate: ClassVar[bool] = False
    block: Annotated[int, Interval(ge=1, le=100_000_000)] = 16_384

    def __post_init__(self) -> None:
        check_ranges(self, "retriever")

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> ExactIndex:
        """Encode the chunks and keep their vectors in memory.

        Raises:
            RetrievalError: There are no chunks, or a vector is not finite.
        """
        import numpy as np

        ids: list[str] = []
        parts: list[Vectors] = []
        for block in blocks(chunks):
            parts.append(passage_vectors(block, embedder))
            ids.extend(chunk.id for chunk in block)
        if not ids:
            raise empty_corpus(path)
        return ExactIndex(ids, np.concatenate(parts) if len(parts) > 1 else parts[0], embedder, self.block)


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
        rows = {id: row for row, id in enumerate(self._ids)}
        return [
            (self._vectors[[rows[id] for id in wanted]] @ vector).tolist()
            for vector, wanted in zip(vectors, ids, strict=True)
        ]

    def _top(self, queries: Vectors, k: int) -> Iterator[tuple[npt.NDArray[np.int64], Vectors]]:
        """Yield the rows and scores of each query's best passages, block by block."""
        import numpy as np

        rows = np.empty((len(queries), 0), dtype=np.int64)
        scores = np.empty((len(queries), 0), dtype=np.float32)
        for start in range(0, len(self._ids), self._block):
            products = queries @ self._vectors[start : start + self._block].T
            # A matrix product rounds equal vectors differently from tile to tile. Rounded to six places,
            # duplicates of a passage have the same score and stay in the order of their ids.
            np.round(products, 6, out=products)
            numbers = np.broadcast_to(np.arange(start, start + products.shape[1]), products.shape)
            rows = np.concatenate([rows, numbers], axis=1)
            scores = np.concatenate([scores, products], axis=1)
            best = best_columns(scores, k)
            rows, scores = np.take_along_axis(rows, best, 1), np.take_along_axis(scores, best, 1)
        yield from zip(rows, scores, strict=True)
