"""Hybrid search: reciprocal rank fusion of two indexes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from embexp.data.records import Chunk
from embexp.errors import ConfigError
from embexp.models.encoder import Embedder
from embexp.retrieval.index import Hit, Index, Retriever

RRF_CONSTANT = 60


def fuse(
    rankings: Sequence[Sequence[Hit]],
    k: int,
    *,
    constant: int = RRF_CONSTANT,
    weights: Sequence[float] | None = None,
) -> list[Hit]:
    """Merge several rankings of one query by reciprocal rank fusion (Cormack, Clarke and Buettcher 2009).

    A chunk's score is the sum of ``weight / (constant + rank)`` over the rankings that contain it; ranks
    count from 1. The scores in the rankings are ignored, since their scales differ from system to system.

    Args:
        rankings: The hits of each system, best first.
        k: The most hits to return.
        constant: The larger, the less the first ranks stand out; 60 in the paper.
        weights: The weight of each ranking; 1 each if None.

    Returns:
        The hits, best first; equal scores are ordered by chunk id.

    Raises:
        ConfigError: There are not as many weights as rankings.
    """
    if weights is None:
        weights = [1.0] * len(rankings)
    if len(weights) != len(rankings):
        raise ConfigError(
            f"{len(weights)} weights were given for {len(rankings)} rankings: give one for each."
        )
    scores: dict[str, float] = defaultdict(float)
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, hit in enumerate(ranking, start=1):
            scores[hit.id] += weight / (constant + rank)
    best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [Hit(id, score) for id, score in best[:k]]


@dataclass(frozen=True, kw_only=True)
class HybridRetriever:
    """Searches with vectors and with words, and fuses both rankings.

    Args:
        dense: The retriever that uses the embedding model.
        sparse: The retriever that uses words, usually BM25.
        depth: Hits of each that are fused.
        constant: The constant of reciprocal rank fusion.
        weights: The weights of dense and sparse; 1 each if None.
    """

    approximate: ClassVar[bool] = False
    dense: Retriever
    sparse: Retriever
    depth: int = 100
    constant: int = RRF_CONSTANT
    weights: list[float] | None = None

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ConfigError(f"retriever.depth is {self.depth}: give 1 or more, such as 100.")
        if self.constant < 0:
            raise ConfigError(f"retriever.constant is {self.constant}: give 0 or more, usually 60.")
        if self.weights is not None and len(self.weights) != 2:
            raise ConfigError(
                f"retriever.weights is {self.weights}: give two numbers, for dense and sparse, or null."
            )

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> HybridIndex:
        """Index the chunks with both retrievers; the dense one keeps its files under ``path``."""
        corpus = list(chunks)
        indexes = [part.index(corpus, embedder, path=path) for part in (self.dense, self.sparse)]
        return HybridIndex(indexes, depth=self.depth, constant=self.constant, weights=self.weights)


class HybridIndex:
    """Several indexes of the same chunks, searched as one."""

    def __init__(
        self,
        indexes: Sequence[Index],
        *,
        depth: int = 100,
        constant: int = RRF_CONSTANT,
        weights: Sequence[float] | None = None,
    ) -> None:
        self._indexes = indexes
        self._depth = depth
        self._constant = constant
        self._weights = weights

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Return each query's ``k`` best chunks by fused rank, the best first."""
        depth = max(k, self._depth)
        results = [index.search(queries, k=depth) for index in self._indexes]
        return [
            fuse(rankings, k, constant=self._constant, weights=self._weights)
            for rankings in zip(*results, strict=True)
        ]
