"""The retriever that a run serves, made from the one it indexes with: its vectors, and BM25 beside them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from embexp.models.encoder import Embedder
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.chroma import ChromaRetriever, ChromaServerRetriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import DenseRetriever, HybridRetriever
from embexp.retrieval.index import Retriever


def with_bm25(
    retriever: Retriever, weight: float, *, adaptive: bool = True, translations: str | None = None
) -> Retriever:
    """Return a retriever that fuses the vectors of ``retriever`` with BM25.

    Args:
        retriever: What a run indexes with.
        weight: The share of BM25 in a hit's score; 0 is the vectors alone.
        adaptive: Whether each query has a weight of its own.
        translations: The file of BM25's word translations; None for none.

    Returns:
        ``retriever`` itself, or an equal one, where it does that already.
    """
    if not weight and not isinstance(retriever, Bm25Retriever | HybridRetriever):
        return retriever
    dense = dense_retriever(retriever)
    if not weight:
        return dense
    words = Bm25Retriever(translations=translations)
    return HybridRetriever(dense=dense, sparse=words, weight=weight, adaptive=adaptive)


def follow_models(retriever: Retriever, embedders: Iterable[Embedder], path: Path) -> None:
    """Let the collections of an index that was copied to ``path`` name the folders of their models.

    Args:
        retriever: What built the index; only Chroma's names models.
        embedders: The models that it was built with.
        path: The index.
    """
    match retriever:
        case ChromaRetriever():
            for embedder in embedders:
                retriever.open(embedder, path=path)
        case HybridRetriever():
            follow_models(retriever.dense, embedders, path)


def refuse_other_models(retriever: Retriever, embedders: Iterable[Embedder], path: Path) -> None:
    """Refuse an index that other models than these have built, before it would be written anew.

    Args:
        retriever: What built the index; only Chroma keeps vectors.
        embedders: The models to search with.
        path: The index.

    Raises:
        RetrievalError: A model's collection holds vectors of another one.
    """
    match retriever:
        case ChromaRetriever():
            for embedder in embedders:
                retriever.refuse_other_model(embedder, path=path)
        case HybridRetriever():
            refuse_other_models(retriever.dense, embedders, path)


def dense_retriever(retriever: Retriever) -> DenseRetriever:
    """Return what searches the vectors alone, whose scores are cosines.

    Args:
        retriever: What a run indexes with.
    """
    match retriever:
        case ChromaRetriever() | ChromaServerRetriever() | ExactRetriever():
            return retriever
        case HybridRetriever():
            return retriever.dense
    # BM25 has no vectors, and the index of a retriever of one's own need not give its vectors away.
    return ExactRetriever()
