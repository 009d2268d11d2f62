"""Hybrid search: vectors and words, fused by a weighted sum of scores or by reciprocal ranks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Interval

from embexp.data.records import Chunk
from embexp.errors import ConfigError
from embexp.models.encoder import Embedder
from embexp.ranges import Share, check_ranges
from embexp.retrieval.bm25 import Bm25Index, Bm25Retriever
from embexp.retrieval.bm25_weight import NEAREST, bm25_factors, cosine_scale, unread_queries
from embexp.retrieval.index import (
    DenseIndex,
    DenseRetriever,
    Hit,
    best_columns,
    check_dense,
    check_k,
    complete_cosines,
    query_vectors,
)

RRF_CONSTANT = 60
DEFAULT_WEIGHT = 0.3
"""The share of BM25 in a fused score, where nothing is known that would choose a better one."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The chunks that may answer a query, with both of their scores.

    Attributes:
        ids: The chunks, in ascending order.
        cosines: Their cosines to the query.
        shares: Their BM25 scores divided by the query's upper bound, in [0, 1).
        factor: What the odds of BM25 are multiplied by for this query.
    """

    ids: Sequence[str]
    cosines: Sequence[float]
    shares: Sequence[float]
    factor: float = 1.0

    def rank(self, *, weight: float, k: int) -> list[Hit]:
        """Rank the chunks by ``(1 - w) * cosine + w * share``, where ``w`` is the query's own weight.

        Args:
            weight: The weight of BM25, in [0, 1], before the query's factor.
            k: The most hits to return.

        Returns:
            The hits, best first; equal scores are ordered by chunk id.
        """
        import numpy as np

        weight = weight * self.factor / (1 - weight + weight * self.factor)
        scores = (1 - weight) * np.asarray(self.cosines) + weight * np.asarray(self.shares)
        # Rounded as in exact search, so that copies of a passage tie and stay in the order of their ids.
        scores = scores.round(6)
        best = np.argsort(-scores, kind="stable")[:k]
        return [Hit(self.ids[at], float(scores[at])) for at in best]


def fuse(
    rankings: Sequence[Sequence[Hit]],
    k: int,
    *,
    constant: Annotated[int, Interval(ge=0, le=1_000_000)] = RRF_CONSTANT,
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
    """Searches with vectors and with BM25, and fuses both.

    With ``fusion=convex`` a chunk scores ``(1 - weight) * cosine + weight * BM25 / upper bound``: the second
    term is the share of the query's words, by their rarity, that the chunk contains, so that exact words
    count for much where they are rare and for little where a query paraphrases. With ``adaptive`` each query
    has a weight of its own: the less the cosines of its nearest chunks differ, the more words count
    (``bm25_weight.py``). With ``fusion=rrf`` only the ranks count (reciprocal rank fusion).

    Args:
        dense: The retriever that uses the embedding model.
        sparse: The retriever that uses words.
        fusion: ``convex`` adds scores, ``rrf`` adds reciprocal ranks.
        weight: The share of BM25, from 0 (vectors alone) to 1 (words alone); with ``adaptive``, that of a
            query whose nearest chunks' cosines differ as they usually do.
        adaptive: Whether a convex fusion weighs words for each query anew.
        depth: Hits of each that are fused.
        constant: The constant of reciprocal rank fusion.
    """

    approximate: ClassVar[bool] = False
    vectors: ClassVar[bool] = False
    dense: DenseRetriever
    sparse: Bm25Retriever
    fusion: Literal["convex", "rrf"] = "convex"
    weight: Share = DEFAULT_WEIGHT
    adaptive: bool = True
    depth: Annotated[int, Interval(ge=1, le=1_000_000)] = 100
    constant: Annotated[int, Interval(ge=0, le=1_000_000)] = RRF_CONSTANT

    def __post_init__(self) -> None:
        if self.fusion not in ("convex", "rrf"):
            raise ConfigError(f"retriever.fusion is {self.fusion!r}: give convex or rrf.")
        check_ranges(self, "retriever")
        check_dense(self.dense)
        if not isinstance(self.sparse, Bm25Retriever):
            raise ConfigError(
                f"retriever.sparse is {self.sparse!r}: give "
                "retriever.sparse._target_=embexp.retrieval.Bm25Retriever."
            )

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> HybridIndex:
        """Index the chunks with both retrievers; the dense one keeps its files under ``path``."""
        corpus = list(chunks)
        return HybridIndex(
            self.dense.index(corpus, embedder, path=path),
            self.sparse.index(corpus, path=path),
            embedder,
            fusion=self.fusion,
            weight=self.weight,
            adaptive=self.adaptive,
            depth=self.depth,
            constant=self.constant,
        )


class HybridIndex:
    """A dense index and a BM25 index of the same chunks, searched as one; see ``HybridRetriever``."""

    def __init__(
        self,
        dense: DenseIndex,
        sparse: Bm25Index,
        embedder: Embedder,
        *,
        fusion: Literal["convex", "rrf"] = "convex",
        weight: float = DEFAULT_WEIGHT,
        adaptive: bool = True,
        depth: int = 100,
        constant: int = RRF_CONSTANT,
    ) -> None:
        self._dense = dense
        self._sparse = sparse
        self._rows = {id: row for row, id in enumerate(sparse.ids)}
        self._embedder = embedder
        self._fusion = fusion
        self._weight = weight
        self._adaptive = adaptive
        self._depth = depth
        self._constant = constant

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Return each query's ``k`` best chunks by fused score, best first; ties are ordered by chunk id.

        Raises:
            RetrievalError: ``k`` is less than 1, or one of the indexes cannot be searched.
        """
        check_k(k)
        if not queries:
            return []
        depth = max(k, self._depth)
        if self._fusion == "convex":
            return [
                candidates.rank(weight=self._weight, k=k)
                for candidates in self.candidates(queries, depth=depth)
            ]
        weights = [1 - self._weight, self._weight]
        nearest = self._dense.search(queries, k=depth)
        matches = self._sparse.search(queries, k=depth)
        return [
            fuse(rankings, k, constant=self._constant, weights=weights)
            for rankings in zip(nearest, matches, strict=True)
        ]

    def candidates(self, queries: Sequence[str], *, depth: int) -> list[Candidates]:
        """Return, for each query, all chunks that either index ranks among its first ``depth``."""
        vectors = query_vectors(list(queries), self._embedder)
        nearest = self._dense.nearest(vectors, k=max(depth, NEAREST))
        factors = self._factors(queries, nearest)
        ids: list[list[str]] = []
        shares: list[list[float]] = []
        for hits, scores in zip(nearest, self._sparse.normalised(queries), strict=True):
            rows = best_columns(scores[None, :], depth)[0]
            matches = (self._sparse.ids[row] for row in rows if scores[row] > 0)
            ids.append(sorted({*(hit.id for hit in hits[:depth]), *matches}))
            shares.append([float(scores[self._rows[id]]) for id in ids[-1]])
        known = [{hit.id: hit.score for hit in hits} for hits in nearest]
        complete_cosines(self._dense, vectors, ids, known)
        cosines = [[own[id] for id in each] for each, own in zip(ids, known, strict=True)]
        return [Candidates(*each) for each in zip(ids, cosines, shares, factors, strict=True)]

    def _factors(self, queries: Sequence[str], nearest: Sequence[Sequence[Hit]]) -> list[float]:
        """Return what the odds of BM25 are multiplied by for each query, given its nearest chunks."""
        import numpy as np

        if not self._adaptive:
            return [1.0] * len(nearest)
        spreads = np.array([np.std([hit.score for hit in hits[:NEAREST]]) for hits in nearest])
        unread = unread_queries(self._embedder, queries)
        return [float(factor) for factor in bm25_factors(spreads, self._scale, unread)]

    @cached_property
    def _scale(self) -> float:
        return cosine_scale(self._embedder)
