"""Lists of passages for a listwise teacher, and its scores on a common scale."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING

from embexp.data.records import Pair
from embexp.errors import ConfigError, DataError
from embexp.finetuning.hard_negatives import PassagePool
from embexp.finetuning.teachers.hybrid import words_of
from embexp.models.encoder import Embedder
from embexp.retrieval.index import best_columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

log = logging.getLogger(__name__)

_QUERIES_PER_BLOCK = 256
PERCENTILES = (1, 99)
"""Scores beyond these percentiles of all scores are clipped, as in CADET (arXiv 2505.19274)."""


def passage_lists(
    pairs: Sequence[Pair], pool: PassagePool, embedder: Embedder, *, length: int
) -> list[tuple[str, ...]]:
    """Return a list of passages for each pair's query: its own passage, then those that look alike.

    The others are in turn the next best of the untuned model and the next best of BM25, so that a teacher
    sees what either of them would find. Other known answers of the query are left out. The lists are equally
    long, and shorter than ``length`` where there are fewer training passages.

    Args:
        pairs: The pairs.
        pool: The training passages.
        embedder: The untuned model.
        length: The most passages in a list.

    Raises:
        ConfigError: A query has no second passage.
    """
    deepest = length + max(len(pool.answers(pair)) for pair in pairs)
    lists: list[tuple[str, ...]] = []
    nearest = _nearest(pairs, pool, embedder, deepest)
    matching = _matching(pairs, pool, deepest)
    for pair, dense, words in zip(pairs, nearest, matching, strict=True):
        answers = set(pool.answers(pair))
        alternating = chain.from_iterable(zip_longest(dense, words))
        ranked = dict.fromkeys(pool.texts[at] for at in alternating if at is not None)
        others = [text for text in ranked if text not in answers and text != pair.positive]
        lists.append((pair.positive, *others[: length - 1]))
    shortest = min(map(len, lists))
    if shortest < 2:
        raise ConfigError(
            f"loss=listwise compares passages, and there are {len(pool.texts)} training passages: give more "
            "documents, or choose loss=mnrl."
        )
    return [texts[:shortest] for texts in lists]


def _nearest(pairs: Sequence[Pair], pool: PassagePool, embedder: Embedder, k: int) -> Iterator[list[int]]:
    """Yield the positions of the untuned model's best passages for each pair's query, best first."""
    passages = embedder.encode_passages(pool.texts)
    queries = embedder.encode_queries([pair.query for pair in pairs])
    for start in range(0, len(pairs), _QUERIES_PER_BLOCK):
        scores = queries[start : start + _QUERIES_PER_BLOCK] @ passages.T
        yield from best_columns(scores, k).tolist()


def _matching(pairs: Sequence[Pair], pool: PassagePool, k: int) -> Iterator[list[int]]:
    """Yield the positions of BM25's best passages for each pair's query, best first."""
    for scores in words_of(pool.texts).normalised([pair.query for pair in pairs]):
        yield [at for at in best_columns(scores[None, :], k)[0].tolist() if scores[at] > 0]


def to_unit_range(scores: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
    """Return scores of equally long lists clipped at the 1st and 99th percentile and brought to [0, 1].

    Args:
        scores: A list's scores, of all lists.

    Raises:
        DataError: All scores are equal.
    """
    import numpy as np

    values = np.asarray(scores, dtype=np.float64)
    low, high = np.percentile(values, PERCENTILES)
    if high <= low:
        low, high = values.min(), values.max()
    if high <= low:
        raise DataError(
            f"The teacher gives all {values.size:,} passages the same score ({low:g}), from which nothing "
            "can be learnt: choose another teacher, as in teacher@loss.teacher=hybrid."
        )
    scaled: npt.NDArray[np.float64] = (np.clip(values, low, high) - low) / (high - low)
    return scaled
