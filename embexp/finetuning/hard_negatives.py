"""Negatives from the training passages alone: mined with the untuned model, or drawn at random."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from embexp.data.records import Pair
from embexp.errors import ConfigError

if TYPE_CHECKING:
    from embexp.finetuning.teachers import Teacher
    from embexp.models.embedding_cache import Vectors

log = logging.getLogger(__name__)


Encode = Callable[[Sequence[str]], "Vectors"]
QUERIES_PER_BLOCK = 256
PASSAGES_PER_BLOCK = 16_384
TRIES = 50


class NegativeSource(Protocol):
    """Finds passages that do not answer a query."""

    def draw(self, anchors: Sequence[Pair], count: int) -> list[tuple[str, ...]]:
        """Return ``count`` distinct passages for each anchor, in the anchors' order."""


class PassagePool:
    """The distinct passages of the training pairs, and which of them a query must not be given.

    A passage is forbidden to a query that it answers in any pair, and to each query that comes from
    one of the passage's own documents: there it may well be another, unjudged answer.
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
        """Return where the pair's passage stands in ``texts``."""
        return self._positions[pair.positive]

    def forbidden(self, pair: Pair) -> set[int]:
        """Return the positions in ``texts`` that are no negatives for this pair's query."""
        answers = (self._answers.get(key, set()) for key in query_keys(pair))
        return self._of_document.get(pair.document_id, set()).union(*answers)

    def answers(self, pair: Pair) -> list[str]:
        """Return all passages that answer this pair's query."""
        found = set().union(*(self._answers.get(key, set()) for key in query_keys(pair)))
        return [self.texts[position] for position in sorted(found)]


def query_keys(pair: Pair) -> tuple[str, str]:
    """Return what makes two pairs judgments of one query: the same query id, or the same words."""
    return f"id:{pair.query_key}", f"text:{pair.query}"


@dataclass(frozen=True, kw_only=True)
class RandomNegatives:
    """Passages drawn evenly from the pool; the same pair gets the same ones for the same seed."""

    pool: PassagePool
    seed: int

    def draw(self, anchors: Sequence[Pair], count: int) -> list[tuple[str, ...]]:
        """Return ``count`` distinct passages for each anchor.

        Raises:
            ConfigError: The pool holds too few passages that are no answers.
        """
        return [self.top_up((), anchor, count) for anchor in anchors]

    def top_up(self, found: Sequence[str], anchor: Pair, count: int) -> tuple[str, ...]:
        """Return ``found`` with random passages added until there are ``count``."""
        generator = random.Random(f"{self.seed}:{anchor.id}:{anchor.query}")
        forbidden, chosen = self.pool.forbidden(anchor), dict.fromkeys(found)
        size = len(self.pool.texts)
        for _ in range(TRIES * count):
            if len(chosen) >= count:
                break
            position = generator.randrange(size)
            if position not in forbidden:
                chosen.setdefault(self.pool.texts[position])
        if len(chosen) < count:
            left = [
                text for at, text in enumerate(self.pool.texts) if at not in forbidden and text not in chosen
            ]
            if len(chosen) + len(left) < count:
                raise ConfigError(
                    f"The query {anchor.query[:60]!r} has only {len(chosen) + len(left)} training passages "
                    f"of other documents to serve as negatives, and {count} are needed: lower "
                    "trainer.hard_negatives, give pairs of more documents, or choose loss=mnrl, which "
                    "needs none."
                )
            chosen.update(dict.fromkeys(generator.sample(left, count - len(chosen))))
        return tuple(chosen)


@dataclass(frozen=True, kw_only=True)
class MinedNegatives:
    """Passages that the untuned model takes for answers, but less so than the answer itself.

    Positive-aware mining: a candidate scores below ``margin`` times the positive's score (TopK-PercPos) and
    at least ``gap`` below it (TopK-MarginPos, Moreira et al. 2024, arXiv 2407.15831), which keeps most
    unjudged answers out. With a ``scorer`` the candidates are the model's best, and the scores its own.

    Args:
        pool: The training passages.
        encode_queries: Embeds queries as unit vectors, shape (n, dimension).
        encode_passages: Embeds passages as unit vectors, shape (n, dimension).
        seed: Chooses among the ranks.
        margin: The share of the positive's score below which a candidate must lie.
        ranks: From which rank (0 is the best) to before which rank of the candidates to draw.
        gap: How far below the positive's score a candidate must lie at least, in the scores' own unit.
        scorer: Who scores positives and candidates in the model's place.
    """

    pool: PassagePool
    encode_queries: Encode
    encode_passages: Encode
    seed: int
    margin: float = 0.95
    ranks: tuple[int, int] = (0, 20)
    gap: float = 0.0
    scorer: Teacher | None = None
    _random: RandomNegatives = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_random", RandomNegatives(pool=self.pool, seed=self.seed))

    def draw(self, anchors: Sequence[Pair], count: int) -> list[tuple[str, ...]]:
        """Return ``count`` distinct passages for each anchor; random ones where too few are hard.

        Raises:
            ConfigError: The pool holds too few passages that are no answers.
        """
        passages = self.encode_passages(self.pool.texts)
        queries = self.encode_queries([anchor.query for anchor in anchors])
        ranked: list[list[int]] = []
        for start in range(0, len(anchors), QUERIES_PER_BLOCK):
            end = start + QUERIES_PER_BLOCK
            ranked += self._candidates(anchors[start:end], queries[start:end], passages)
        if self.scorer is not None:
            ranked = self._rescored(self.scorer, anchors, ranked)
        hard = [self._choose(anchor, found, count) for anchor, found in zip(anchors, ranked, strict=True)]
        random_ones = sum(count - len(texts) for texts in hard)
        negatives = [
            self._random.top_up(texts, anchor, count) for texts, anchor in zip(hard, anchors, strict=True)
        ]
        log.info(
            "Mined %d hard negatives from %d training passages; %d more were drawn at random, where no "
            "passage scored below %g of the positive's.",
            *(len(anchors) * count - random_ones, len(self.pool.texts), random_ones, self.margin),
        )
        return negatives

    def _choose(self, anchor: Pair, candidates: list[int], count: int) -> list[str]:
        generator = random.Random(f"{self.seed}:{anchor.id}:{anchor.query}:ranks")
        window = candidates[self.ranks[0] :]
        return [self.pool.texts[position] for position in generator.sample(window, min(count, len(window)))]

    def _ceiling(self, scores: Vectors) -> Vectors:
        """Return the score below which a candidate must lie, for each positive's score."""
        import numpy as np

        lowest: Vectors = scores - np.maximum((1.0 - self.margin) * np.abs(scores), self.gap)
        return lowest

    def _rescored(
        self, scorer: Teacher, anchors: Sequence[Pair], ranked: Sequence[list[int]]
    ) -> list[list[int]]:
        """Return each anchor's candidates that the scorer puts below the ceiling, in its own order."""
        import numpy as np

        asked = [
            (anchor.query, text)
            for anchor, found in zip(anchors, ranked, strict=True)
            for text in (anchor.positive, *(self.pool.texts[position] for position in found))
        ]
        scores = np.asarray(scorer.scores(asked), dtype=np.float32)
        kept, start = [], 0
        for found in ranked:
            own, others = scores[start], scores[start + 1 : start + 1 + len(found)]
            start += 1 + len(found)
            below = np.flatnonzero(others < self._ceiling(own))
            kept.append([found[at] for at in sorted(below, key=(-others).__getitem__)])
        return kept

    def _candidates(self, anchors: Sequence[Pair], queries: Vectors, passages: Vectors) -> list[list[int]]:
        """Return each anchor's best candidates, best first, at most ``ranks[1]`` of them."""
        import numpy as np

        own = np.array([self.pool.position(anchor) for anchor in anchors])
        if self.scorer is None:
            ceiling = self._ceiling(np.einsum("ij,ij->i", queries, passages[own]))
        else:
            ceiling = np.full(len(anchors), np.inf)
        forbidden = [np.fromiter(found, dtype=np.int64) for found in map(self.pool.forbidden, anchors)]
        best_scores = np.empty((len(anchors), 0), dtype=np.float32)
        best = np.empty((len(anchors), 0), dtype=np.int64)
        for start in range(0, len(passages), PASSAGES_PER_BLOCK):
            scores = queries @ passages[start : start + PASSAGES_PER_BLOCK].T
            scores[scores >= ceiling[:, None]] = -np.inf
            for row, positions in enumerate(forbidden):
                here = positions[(positions >= start) & (positions < start + scores.shape[1])]
                scores[row, here - start] = -np.inf
            positions = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
            best_scores = np.concatenate([best_scores, scores], axis=1)
            best = np.concatenate([best, positions], axis=1)
            if best.shape[1] > self.ranks[1]:
                top = np.argpartition(-best_scores, self.ranks[1] - 1, axis=1)[:, : self.ranks[1]]
                best_scores = np.take_along_axis(best_scores, top, axis=1)
                best = np.take_along_axis(best, top, axis=1)
        order = np.lexsort((best, -best_scores))
        best_scores = np.take_along_axis(best_scores, order, axis=1)
        best = np.take_along_axis(best, order, axis=1)
        return [row[np.isfinite(scores)].tolist() for row, scores in zip(best, best_scores, strict=True)]
