"""Negatives from the training passages: mined with the untuned model, or drawn at random."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from embexp.data.records import Pair
from embexp.errors import ConfigError
from embexp.finetuning.teachers.teacher import Teacher
from embexp.models.encoder import Embedder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from embexp.models.vector_files import Vectors

log = logging.getLogger(__name__)

QUERIES_PER_BLOCK = 256
PASSAGES_PER_BLOCK = 16_384
_TRIES = 50


class NegativeSource(Protocol):
    """Finds passages that do not answer a query."""

    def draw(self, anchors: Sequence[Pair], count: int) -> list[tuple[str, ...]]:
        """Return ``count`` distinct passages for each anchor, in the anchors' order."""


class PassagePool:
    """The distinct passages of the training pairs, and which of them are no negatives for a query.

    A passage is no negative for a query that it answers in any pair, nor for a query about one of the
    passage's own documents, where it may be another, unlabelled answer.
    """

    def __init__(self, pairs: Iterable[Pair], *, is_positive: Callable[[Pair], bool]) -> None:
        positions: dict[str, int] = {}
        self._answers: dict[str, set[int]] = defaultdict(set)
        self._of_document: dict[str, set[int]] = defaultdict(set)
        for pair in pairs:
            position = positions.setdefault(pair.positive, len(positions))
            self._of_document[pair.document_id].add(position)
            if is_positive(pair):
                for key in query_keys(pair):
                    self._answers[key].add(position)
        self.texts = list(positions)
        self._positions = positions

    def position(self, pair: Pair) -> int:
        """Return the position of the pair's passage in ``texts``."""
        return self._positions[pair.positive]

    def forbidden(self, pair: Pair) -> set[int]:
        """Return the positions in ``texts`` that are no negatives for this pair's query."""
        answers = (self._answers.get(key, set()) for key in query_keys(pair))
        return self._of_document.get(pair.document_id, set()).union(*answers)

    def answers(self, pair: Pair) -> list[str]:
        """Return all passages that answer this pair's query."""
        positions = set().union(*(self._answers.get(key, set()) for key in query_keys(pair)))
        return [self.texts[position] for position in sorted(positions)]


def query_keys(pair: Pair) -> tuple[str, str]:
    """Return the keys of a pair's query: pairs of one query have the same query id or the same words."""
    return f"id:{pair.query_key}", f"text:{pair.query}"


@dataclass(frozen=True, kw_only=True)
class RandomNegatives:
    """Passages drawn uniformly from the pool; the same pair gets the same ones for the same seed."""

    pool: PassagePool
    seed: int

    def draw(self, anchors: Sequence[Pair], count: int) -> list[tuple[str, ...]]:
        """Return ``count`` distinct passages for each anchor.

        Raises:
            ConfigError: The pool holds too few passages that may serve as negatives.
        """
        return [self.top_up((), anchor, count) for anchor in anchors]

    def top_up(self, mined: Sequence[str], anchor: Pair, count: int) -> tuple[str, ...]:
        """Return ``mined`` with random passages added until there are ``count``."""
        generator = random.Random(f"{self.seed}:{anchor.id}:{anchor.query}")
        forbidden, chosen = self.pool.forbidden(anchor), dict.fromkeys(mined)
        size = len(self.pool.texts)
        for _ in range(_TRIES * count):
            if len(chosen) >= count:
                break
            position = generator.randrange(size)
            if position not in forbidden:
                chosen.setdefault(self.pool.texts[position])
        if len(chosen) < count:
            rest = [
                text for at, text in enumerate(self.pool.texts) if at not in forbidden and text not in chosen
            ]
            if len(chosen) + len(rest) < count:
                raise ConfigError(
                    f"The query {anchor.query[:60]!r} has only {len(chosen) + len(rest)} training passages "
                    f"of other documents to serve as negatives, and {count} are needed: lower "
                    "trainer.hard_negatives, give pairs of more documents, or choose loss=mnrl, which "
                    "needs none."
                )
            chosen.update(dict.fromkeys(generator.sample(rest, count - len(chosen))))
        return tuple(chosen)


@dataclass(frozen=True, kw_only=True)
class MinedNegatives:
    """Passages that the untuned model ranks high for a query, yet clearly below the positive.

    The options have the meaning of ``sentence_transformers.util.mine_hard_negatives``, with two differences:
    the margins are taken from the score of each pair's own positive, and ranks count the candidates that are
    left after the margins, so that a query with many close passages still gets ``range_max`` candidates.
    Margins keep most unlabelled answers out (TopK-PercPos and TopK-MarginPos, Moreira et al. 2024, arXiv
    2407.15831).

    Args:
        pool: The training passages.
        embedder: Embeds queries and passages, with the untuned model.
        seed: Fixes which of the candidates are drawn.
        relative_margin: A negative scores at least ``relative_margin * abs(positive)`` below the positive.
        absolute_margin: A negative scores at least this much below the positive.
        range_min: Skip this many of the best candidates.
        range_max: Draw from the best ``range_max`` candidates.
        cross_encoder: Rescores the positive and the model's best ``range_max`` candidates; margins and ranks
            then go by its scores.
    """

    pool: PassagePool
    embedder: Embedder
    seed: int
    relative_margin: float | None = 0.05
    absolute_margin: float | None = None
    range_min: int = 0
    range_max: int = 20
    cross_encoder: Teacher | None = None

    def draw(self, anchors: Sequence[Pair], count: int) -> list[tuple[str, ...]]:
        """Return ``count`` distinct passages for each anchor; random ones if too few are hard.

        Raises:
            ConfigError: The pool holds too few passages that may serve as negatives.
        """
        passages = self.embedder.encode_passages(self.pool.texts)
        queries = self.embedder.encode_queries([anchor.query for anchor in anchors])
        ranked: list[list[int]] = []
        for start in range(0, len(anchors), QUERIES_PER_BLOCK):
            end = start + QUERIES_PER_BLOCK
            ranked += self._candidates(anchors[start:end], queries[start:end], passages)
        if self.cross_encoder is not None:
            ranked = self._rescored(self.cross_encoder, anchors, ranked)
        hard = [self._choose(anchor, best, count) for anchor, best in zip(anchors, ranked, strict=True)]
        missing = sum(count - len(texts) for texts in hard)
        fallback = RandomNegatives(pool=self.pool, seed=self.seed)
        negatives = [
            fallback.top_up(texts, anchor, count) for texts, anchor in zip(hard, anchors, strict=True)
        ]
        log.info(
            "Mined %d hard negatives from %d training passages; %d more were drawn at random, for queries "
            "with too few passages below the margins (trainer.relative_margin, trainer.absolute_margin).",
            *(len(anchors) * count - missing, len(self.pool.texts), missing),
        )
        return negatives

    def _choose(self, anchor: Pair, candidates: list[int], count: int) -> list[str]:
        generator = random.Random(f"{self.seed}:{anchor.id}:{anchor.query}:ranks")
        window = candidates[self.range_min :]
        return [self.pool.texts[position] for position in generator.sample(window, min(count, len(window)))]

    def _ceiling(self, scores: Vectors) -> Vectors:
        """Return the highest score of a candidate for each positive's score."""
        import numpy as np

        relative = (self.relative_margin or 0.0) * np.abs(scores)
        ceiling: Vectors = scores - np.maximum(relative, self.absolute_margin or 0.0)
        unlimited = self.relative_margin is None and self.absolute_margin is None
        return np.full_like(ceiling, np.inf) if unlimited else ceiling

    def _rescored(
        self, cross_encoder: Teacher, anchors: Sequence[Pair], ranked: Sequence[list[int]]
    ) -> list[list[int]]:
        """Return each anchor's candidates below the cross-encoder's ceiling, in its order."""
        import numpy as np

        pairs = [
            (anchor.query, text)
            for anchor, candidates in zip(anchors, ranked, strict=True)
            for text in (anchor.positive, *(self.pool.texts[position] for position in candidates))
        ]
        scores = np.asarray(cross_encoder.scores(pairs), dtype=np.float32)
        kept, start = [], 0
        for candidates in ranked:
            own, others = scores[start], scores[start + 1 : start + 1 + len(candidates)]
            start += 1 + len(candidates)
            below = np.flatnonzero(others <= self._ceiling(own))
            kept.append([candidates[at] for at in sorted(below, key=(-others).__getitem__)])
        return kept

    def _candidates(self, anchors: Sequence[Pair], queries: Vectors, passages: Vectors) -> list[list[int]]:
        """Return each anchor's best candidates, best first, at most ``range_max`` of them."""
        import numpy as np

        if self.cross_encoder is None:
            own = np.array([self.pool.position(anchor) for anchor in anchors])
            ceiling = self._ceiling(np.einsum("ij,ij->i", queries, passages[own]))
        else:
            ceiling = np.full(len(anchors), np.inf)
        forbidden = [self.pool.forbidden(anchor) for anchor in anchors]
        best_scores, best = nearest(queries, passages, forbidden, most=self.range_max, ceiling=ceiling)
        order = np.lexsort((best, -best_scores))
        best_scores = np.take_along_axis(best_scores, order, axis=1)
        best = np.take_along_axis(best, order, axis=1)
        return [row[np.isfinite(scores)].tolist() for row, scores in zip(best, best_scores, strict=True)]


def nearest(
    queries: Vectors,
    passages: Vectors,
    forbidden: Sequence[Collection[int]],
    *,
    most: int,
    ceiling: Vectors | None = None,
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """Return the scores and positions of each query's nearest passages, in no order.

    Args:
        queries: Their vectors, as many as fit into memory beside their scores.
        passages: The vectors to search, in blocks.
        forbidden: The positions of the passages that each query must not get; they score -inf.
        most: How many passages each query gets, where there are so many.
        ceiling: The highest score that a passage may have for each query; None for any.
    """
    import numpy as np

    left_out = [np.fromiter(each, dtype=np.int64) for each in forbidden]
    best_scores = np.empty((len(queries), 0), dtype=np.float32)
    best = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(passages), PASSAGES_PER_BLOCK):
        scores = queries @ passages[start : start + PASSAGES_PER_BLOCK].T
        if ceiling is not None:
            scores[scores > ceiling[:, None]] = -np.inf
        for row, positions in enumerate(left_out):
            here = positions[(positions >= start) & (positions < start + scores.shape[1])]
            scores[row, here - start] = -np.inf
        positions = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
        best_scores = np.concatenate([best_scores, scores], axis=1)
        best = np.concatenate([best, positions], axis=1)
        if best.shape[1] > most:
            top = np.argpartition(-best_scores, most - 1, axis=1)[:, :most]
            best_scores = np.take_along_axis(best_scores, top, axis=1)
            best = np.take_along_axis(best, top, axis=1)
    return best_scores, best
