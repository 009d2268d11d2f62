"""Retrieval: exact and approximate vector search, BM25, and both combined."""

from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.chroma import ChromaRetriever, ChromaServerRetriever
from embexp.retrieval.exact import ExactIndex, ExactRetriever
from embexp.retrieval.hybrid import HybridRetriever, fuse
from embexp.retrieval.index import Hit, Index, Retriever
from embexp.retrieval.parts import PartsRetriever
from embexp.retrieval.translations import Translations, learn_translations

__all__ = [
    "Bm25Retriever",
    "ChromaRetriever",
    "ChromaServerRetriever",
    "ExactIndex",
    "ExactRetriever",
    "Hit",
    "HybridRetriever",
    "Index",
    "PartsRetriever",
    "Retriever",
    "Translations",
    "fuse",
    "learn_translations",
]
