"""The contract of retrievers and indexes, and the helpers that their implementations share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from embexp.data.records import Chunk
from embexp.errors import ConfigError, RetrievalError
from embexp.models.encoder import ENCODING_PASSAGES, Embedder
from embexp.progress import job

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from embexp.models.vector_files import Vectors


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved chunk and its score; a higher score is a better match in every retriever."""

    id: str
    score: float


class Index(Protocol):
    """A searchable set of chunks. Searching does not change it, and the same search gives the same hits."""

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Return the best hits of each query, in the order of the queries.

        Args:
            queries: Any number of texts, also none.
            k: The most hits to return for a query; fewer if fewer chunks match.

        Returns:
            A list per query, best hit first; equal scores are ordered by chunk id.

        Raises:
            RetrievalError: ``k`` is less than 1, or the index cannot be searched.
        """


class DenseIndex(Index, Protocol):
    """An index of vectors, which also answers questions that are encoded already."""

    def nearest(self, vectors: Vectors, *, k: int) -> list[list[Hit]]:
        """Return the nearest chunks of query vectors of unit length, shape (queries, dimension)."""

    def cosines(self, vectors: Vectors, ids: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the cosines of each query vector to the chunks with these ids, one list per query."""


class Retriever(Protocol):
    """Builds indexes. It holds settings only: the same retriever may build any number of indexes."""

    @property
    def approximate(self) -> bool:
        """Whether its hits approximate those of exact search over the same vectors.

        A benchmark then measures its recall against exact search. False for a retriever that ranks by
        something else on purpose, such as words.
        """

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> Index:
        """Index the chunks and return an index that is ready to be searched.

        Args:
            chunks: The corpus. ``chunk.passage`` is what is indexed, ``chunk.id`` what a hit returns.
            embedder: Encodes the chunks now and the queries later; ignored by a retriever without vectors.
            path: A folder where files may be kept. Indexing again under the same path may reuse them if they
                were written for the same embedder, and must give the same hits as a new index.

        Raises:
            RetrievalError: There are no chunks, a vector is not finite, or the index cannot be written.
        """


class DenseRetriever(Retriever, Protocol):
    """A retriever whose index holds vectors."""

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> DenseIndex:
        """Index the chunks, as ``Retriever.index`` does."""


def complete_cosines(
    index: DenseIndex, vectors: Vectors, ids: Sequence[Sequence[str]], known: Sequence[dict[str, float]]
) -> None:
    """Look up the cosines of each query to its chunks that are not known yet.

    Args:
        index: Holds the chunks' vectors.
        vectors: The query vectors, shape (queries, dimension).
        ids: The chunks of each query.
        known: Chunk -> its cosine, for each query; is completed.
    """
    unknown = [[id for id in each if id not in own] for each, own in zip(ids, known, strict=True)]
    for own, each, found in zip(known, unknown, index.cosines(vectors, unknown), strict=True):
        own.update(zip(each, found, strict=True))


def check_dense(retriever: object) -> None:
    """Refuse what has no vectors as the ``dense`` part of another retriever.

    Raises:
        ConfigError: It is no retriever, or one that says ``vectors = False`` of itself.
    """
    known = hasattr(retriever, "approximate")
    if known and getattr(retriever, "vectors", True):
        return
    found = (
        f"{type(retriever).__name__}, which has no vectors"
        if known
        else f"{retriever!r}, which is no retriever"
    )
    raise ConfigError(
        f"retriever.dense is {found}: give "
        "retriever.dense._target_=embexp.retrieval.ChromaRetriever, ChromaServerRetriever or ExactRetriever."
    )


BLOCK = 65_536
"""Chunks that are encoded together: enough to batch by length, about 100 MB of vectors for most models."""


def encoded_blocks(chunks: Sequence[Chunk], embedder: Embedder) -> Iterator[tuple[list[Chunk], Vectors]]:
    """Yield the chunks in blocks of up to 65,536, each with its vectors; one bar counts them all.

    Raises:
        RetrievalError: A vector is not finite.
    """
    with job(ENCODING_PASSAGES, total=len(chunks)):
        for block in blocks(chunks):
            yield block, passage_vectors(block, embedder)


def blocks(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    """Yield the chunks in lists of up to 65,536, to be encoded together."""
    for start in range(0, len(chunks), BLOCK):
        yield list(chunks[start : start + BLOCK])


def passage_vectors(chunks: list[Chunk], embedder: Embedder) -> Vectors:
    """Return the chunks' vectors, float32, shape (chunks, dimension).

    Raises:
        RetrievalError: A vector is not finite.
    """
    vectors = embedder.encode_passages([chunk.passage for chunk in chunks])
    _check(vectors, lambda row: f"chunk {chunks[row].id}")
    return vectors


def query_vectors(queries: list[str], embedder: Embedder) -> Vectors:
    """Return the queries' vectors, float32, shape (queries, dimension).

    Raises:
        RetrievalError: A vector is not finite.
    """
    vectors = embedder.encode_queries(queries)
    _check(vectors, lambda row: f"query {queries[row][:60]!r}")
    return vectors


def _check(vectors: Vectors, name_of: Callable[[int], str]) -> None:
    import numpy as np

    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        raise RetrievalError(
            f"The model gave {name_of(int(broken[0]))} a vector that is not finite ({len(broken)} such in "
            "all): its weights are broken. Train it again with a lower learning rate, or choose another "
            "model."
        )


def check_k(k: int) -> None:
    """Raise a RetrievalError if ``k`` is less than 1."""
    if k < 1:
        raise RetrievalError(f"{k} hits were asked for: ask for 1 or more.")


def empty_corpus(path: Path) -> RetrievalError:
    """Return the error for an index without chunks."""
    return RetrievalError(
        f"There is nothing to index under {path}: the corpus has no chunks. Check dataset.path, and that the "
        "chunker leaves some text."
    )


def best_columns(scores: Vectors, k: int) -> npt.NDArray[np.int64]:
    """Return the columns of each row's ``k`` highest scores, the highest first, ties by column.

    Args:
        scores: Shape (rows, columns).
        k: How many to return; all columns where there are fewer.

    Returns:
        Shape (rows, min(k, columns)).
    """
    import numpy as np

    if k >= scores.shape[1]:
        return np.argsort(-scores, axis=1, kind="stable")
    # A partition is linear, but picks any of several equal scores at its edge. It only gives the k-th best
    # score; each row then keeps the first columns that reach it.
    edge = np.partition(scores, -k, axis=1)[:, -k]
    best = np.empty((len(scores), k), dtype=np.int64)
    for row, (values, least) in enumerate(zip(scores, edge, strict=True)):
        candidates = np.flatnonzero(values >= least)
        best[row] = candidates[np.argsort(-values[candidates], kind="stable")[:k]]
    return best
