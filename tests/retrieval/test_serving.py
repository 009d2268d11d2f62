"""The retriever to serve: the vectors of the run's own retriever, and BM25 at the chosen weight."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from embexp.data.records import Chunk
from embexp.models.encoder import Embedder
from embexp.retrieval.analyzer import Analyzer
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.chroma import ChromaRetriever, ChromaServerRetriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import HybridRetriever
from embexp.retrieval.index import DenseIndex, DenseRetriever, Index, Retriever
from embexp.retrieval.parts import PartsRetriever
from embexp.retrieval.serving import dense_retriever, parts_retriever, with_bm25, word_retriever
from embexp.retrieval.translations import Translations


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


WORDS = Bm25Retriever(k1=2.0, fuzzy=False)


@pytest.mark.parametrize(
    ("retriever", "words"),
    [
        (WORDS, WORDS),
        (HybridRetriever(dense=CHROMA, sparse=WORDS), WORDS),
        (HybridRetriever(dense=PARTS, sparse=WORDS, weight=0.0), WORDS),
        (CHROMA, Bm25Retriever()),
        (OWN, Bm25Retriever()),
    ],
)
def test_bm25_keeps_its_settings(retriever: Retriever, words: Bm25Retriever) -> None:
    assert word_retriever(retriever) == words
    served = with_bm25(retriever, 0.2)
    assert isinstance(served, HybridRetriever)
    assert served.sparse == words


def test_translations_that_a_run_chose_replace_those_of_its_retriever(tmp_path: Path) -> None:
    files = [str(tmp_path / name) for name in ("own.json", "learned.json")]
    for file in files:
        Translations(Analyzer(None, None), Analyzer(None, None), {}).write(Path(file))
    own = HybridRetriever(dense=CHROMA, sparse=replace(WORDS, translations=files[0]))

    for chosen, used in ((None, files[0]), (files[1], files[1])):
        served = with_bm25(own, 0.3, translations=chosen)
        assert isinstance(served, HybridRetriever)
        assert served.sparse == replace(WORDS, translations=used)


def test_whole_passages_are_searched_below_their_parts() -> None:
    assert dense_retriever(hybrid(PARTS, 0.3)) == CHROMA
    assert parts_retriever(hybrid(PARTS, 0.3)) == PARTS
    assert parts_retriever(hybrid(CHROMA, 0.3)) is None
