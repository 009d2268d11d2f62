"""The retriever that a run serves, made from the one it indexes with: its vectors, and BM25 beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from embexp.models.encoder import Embedder
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.chroma import ChromaRetriever, ChromaServerRetriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import HybridRetriever
from embexp.retrieval.index import DenseRetriever, Retriever
from embexp.retrieval.parts import FOLDER, PartsRetriever


def with_bm25(
    retriever: Retriever,
    weight: float,
    *,
    adaptive: bool = True,
    translations: str | None = None,
    parts: bool = False,
) -> Retriever:
    """Return a retriever that fuses the vectors of ``retriever`` with BM25.

    Args:
        retriever: What a run indexes with.
        weight: The share of BM25 in a hit's score; 0 is the vectors alone.
        adaptive: Whether each query has a weight of its own.
        translations: The file of word translations that a run chose for BM25; None for those, if any, that
            ``retriever`` names.
        parts: Whether the vectors of parts count, where ``retriever`` has any.

    Returns:
        ``retriever`` itself, or an equal one, where it does that already.
    """
    if not weight and not isinstance(retriever, Bm25Retriever | HybridRetriever | PartsRetriever):
        return retriever
    dense: DenseRetriever = dense_retriever(retriever)
    if parts and (found := parts_retriever(retriever)):
        dense = found
    if not weight:
        return dense
    words = word_retriever(retriever)
    if translations:
        words = replace(words, translations=translations)
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
        case PartsRetriever():
            for place in _places(path):
                follow_models(retriever.dense, embedders, place)


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
        case PartsRetriever():
            for place in _places(path):
                refuse_other_models(retriever.dense, embedders, place)


def dense_retriever(retriever: Retriever) -> DenseRetriever:
    """Return what searches the vectors of whole passages alone, whose scores are cosines.

    Args:
        retriever: What a run indexes with.
    """
    match retriever:
        case ChromaRetriever() | ChromaServerRetriever() | ExactRetriever():
            return retriever
        case HybridRetriever(dense=PartsRetriever() as parts):
            return parts.dense
        case HybridRetriever() | PartsRetriever():
            return retriever.dense
    # BM25 has no vectors, and the index of a retriever of one's own need not give its vectors away.
    return ExactRetriever()


def word_retriever(retriever: Retriever) -> Bm25Retriever:
    """Return what searches words: the BM25 of what a run indexes with, or the default one.

    Args:
        retriever: What the run indexes with.
    """
    match retriever:
        case Bm25Retriever():
            return retriever
        case HybridRetriever():
            return retriever.sparse
    return Bm25Retriever()


def parts_retriever(retriever: Retriever) -> PartsRetriever | None:
    """Return what searches the vectors of passages and of their parts, if a run indexes parts.

    Args:
        retriever: What the run indexes with.
    """
    match retriever:
        case PartsRetriever():
            return retriever
        case HybridRetriever():
            return parts_retriever(retriever.dense)
    return None


def _places(path: Path) -> list[Path]:
    """Return the folders in which there are passages and parts, which there may be none of."""
    return [place for place in (path, path / FOLDER) if place.is_dir()]
