"""Where a query's vector should be, by the fusion of the untuned model with BM25: no label is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.data.records import Chunk
from embexp.models.encoder import Embedder
from embexp.progress import progress
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.bm25_weight import NEAREST, bm25_factors, cosine_scale
from embexp.retrieval.index import best_columns

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors

_QUERIES_PER_BLOCK = 256


def fused_targets(
    queries: Sequence[str],
    passages: Sequence[str],
    embedder: Embedder,
    *,
    weight: float,
    ridge: float,
) -> Vectors:
    """Return the vectors whose cosines with the passages come nearest to the scores of the fusion.

    The fusion is that of an adaptive ``HybridRetriever``: it scores a passage ``cosine + odds * share``, with
    the share of the query's words that ``Bm25Index.normalised`` gives, and the odds ``weight / (1 - weight)``
    times the query's factor. The target is ``q + odds * r``, normalised, where ``r`` is the ridge regression
    of the shares on the passages' centred vectors: ``r`` is linear in the words of the query, so what an
    encoder learns from one query holds for others with the same words.

    Args:
        queries: The training queries.
        passages: The corpus to rank.
        embedder: The untuned model.
        weight: The share of BM25 in the fusion, in [0, 1).
        ridge: The penalty, as a share of the mean variance of a dimension; the larger, the nearer the targets
            stay to the directions in which passages differ most.

    Returns:
        Unit vectors, float32, shape (queries, dimension).
    """
    import numpy as np

    vectors = embedder.encode_queries(queries)
    corpus = embedder.encode_passages(passages)
    centred = corpus - corpus.mean(axis=0)
    gram = centred.T.astype(np.float64) @ centred
    dimension = len(gram)
    # The least penalty keeps the system solvable where passages are fewer than dimensions.
    system = gram + max(ridge * np.trace(gram) / dimension, 1e-6) * np.eye(dimension)
    chunks = [
        Chunk(id=f"{number:09}", document_id="", text=passage) for number, passage in enumerate(passages)
    ]
    shares = Bm25Retriever().index(chunks, path=Path()).normalised(queries)
    scale = cosine_scale(embedder)
    parts: list[Vectors] = []
    with progress("Computing targets", total=len(queries)) as bar:
        for start in range(0, len(queries), _QUERIES_PER_BLOCK):
            own = vectors[start : start + _QUERIES_PER_BLOCK]
            block = np.stack([next(shares) for _ in range(len(own))])
            regression = np.linalg.solve(system, centred.T @ block.T).T
            cosines = own @ corpus.T
            nearest = np.take_along_axis(cosines, best_columns(cosines, NEAREST), axis=1)
            odds = weight / (1 - weight) * bm25_factors(nearest.std(axis=1), scale)
            target = own + odds[:, None] * regression
            lengths = np.linalg.norm(target, axis=1, keepdims=True)
            parts.append((target / np.maximum(lengths, 1e-12)).astype(np.float32))
            bar.advance(len(own))
    return np.concatenate(parts)
