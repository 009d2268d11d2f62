"""The retriever to serve: the vectors of the run's own retriever, and BM25 at the chosen weight."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from embexp.data.records import Chunk
from embexp.models.encoder import Embedder
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.chroma import ChromaRetriever, ChromaServerRetriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import HybridRetriever
from embexp.retrieval.index import DenseIndex, DenseRetriever, Index, Retriever
from embexp.retrieval.parts import PartsRetriever
from embexp.retrieval.serving import dense_retriever, parts_retriever, with_bm25


class OwnRetriever:
    """A retriever of one's own, whose index only searches."""

    approximate = True

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> Index:
        return Bm25Retriever().index(chunks, embedder, path=path)


def hybrid(dense: DenseRetriever, weight: float) -> HybridRetriever:
    return HybridRetriever(dense=dense, sparse=Bm25Retriever(), weight=weight)


CHROMA = ChromaRetriever(ef_search=50)
OWN = OwnRetriever()


class OwnVectors:
    """A retriever of one's own, whose index holds vectors."""

    approximate = True

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> DenseIndex:
        return ExactRetriever().index(chunks, embedder, path=path)


OWN_VECTORS = OwnVectors()
PARTS = PartsRetriever(dense=CHROMA, words=20)


@pytest.mark.parametrize(
    ("retriever", "weight", "expected"),
    [
        (CHROMA, 0.4, hybrid(CHROMA, 0.4)),
        (ChromaServerRetriever(port=9), 0.4, hybrid(ChromaServerRetriever(port=9), 0.4)),
        (ExactRetriever(), 0.2, hybrid(ExactRetriever(), 0.2)),
        (hybrid(CHROMA, 0.4), 0.2, hybrid(CHROMA, 0.2)),
        (hybrid(OWN_VECTORS, 0.4), 0.2, hybrid(OWN_VECTORS, 0.2)),
        (Bm25Retriever(), 0.4, hybrid(ExactRetriever(), 0.4)),
        (OWN, 0.4, hybrid(ExactRetriever(), 0.4)),
        (CHROMA, 0.0, CHROMA),
        (hybrid(CHROMA, 0.4), 0.0, CHROMA),
        (Bm25Retriever(), 0.0, ExactRetriever()),
        (OWN, 0.0, OWN),
        (hybrid(CHROMA, 0.4), 0.4, hybrid(CHROMA, 0.4)),
    ],
)
def test_the_vectors_stay_the_run_s_own(retriever: Retriever, weight: float, expected: Retriever) -> None:
    assert with_bm25(retriever, weight) == expected


@pytest.mark.parametrize(
    ("retriever", "weight", "parts", "expected"),
    [
        (PARTS, 0.4, True, hybrid(PARTS, 0.4)),
        (PARTS, 0.4, False, hybrid(CHROMA, 0.4)),
        (PARTS, 0.0, True, PARTS),
        (PARTS, 0.0, False, CHROMA),
        (hybrid(PARTS, 0.3), 0.3, True, hybrid(PARTS, 0.3)),
        (hybrid(PARTS, 0.3), 0.0, False, CHROMA),
        (CHROMA, 0.4, True, hybrid(CHROMA, 0.4)),  # the run has indexed no parts
    ],
)
def test_parts_are_served_where_they_were_chosen(
    retriever: Retriever, weight: float, parts: bool, expected: Retriever
) -> None:
    assert with_bm25(retriever, weight, parts=parts) == expected


def test_whole_passages_are_searched_below_their_parts() -> None:
    assert dense_retriever(hybrid(PARTS, 0.3)) == CHROMA
    assert parts_retriever(hybrid(PARTS, 0.3)) == PARTS
    assert parts_retriever(hybrid(CHROMA, 0.3)) is None
