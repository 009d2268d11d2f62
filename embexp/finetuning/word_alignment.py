"""Word alignment: which token of a passage a token of its question translates, learned from pairs alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ITERATIONS = 8
SMOOTHING = 0.5
"""Added to the count of each passage token, so that one that occurs once alone explains no question."""
_NOTHING = 0
"""Stands in every passage: the source of tokens, such as ``for``, that no token of the passage explains."""


@dataclass(frozen=True)
class Alignment:
    """Expected counts: row i says how often ``questions[i]`` translated ``passages[i]``, two token ids.

    The arrays have the shape (links,); links to no token of the passage are left out.
    """

    questions: NDArray[np.int64]
    passages: NDArray[np.int64]
    counts: NDArray[np.float64]


def align(questions: Sequence[Sequence[int]], passages: Sequence[Sequence[int]]) -> Alignment:
    """Align tokens by IBM Model 1 (Brown et al. 1993, "The mathematics of statistical machine translation").

    Every token of a question is assumed to translate one token of its passage, or none of them. Which one is
    learned by expectation maximisation over all pairs. Takes about 50 bytes for each combination of a
    question's token and a token of its passage.

    Args:
        questions: The token ids of each question.
        passages: The distinct token ids of the passage that answers it, in the same order.
    """
    links, group, base = _links(questions, passages)
    known, index = np.unique(links, return_inverse=True)
    question, passage = np.divmod(known, base)
    source = np.unique(passage, return_inverse=True)[1]
    counts = probability = np.ones(len(known))
    for _ in range(ITERATIONS):
        share = probability[index]
        share /= _totals(group, share)[group]
        counts = _totals(index, share)
        probability = counts / (_totals(source, counts)[source] + SMOOTHING)
    something = passage != _NOTHING
    return Alignment(question[something], passage[something] - 1, counts[something])


def _links(
    questions: Sequence[Sequence[int]], passages: Sequence[Sequence[int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return all possible links, of which occurrence of a question's token each is, and the base of links.

    A link is the question's token times the base, plus one more than the passage's token, or plus 0 for none.
    """
    base = 2 + max((token for passage in passages for token in passage), default=0)
    links, sizes = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for question, passage in zip(questions, passages, strict=True):
        sources = np.array([_NOTHING, *(token + 1 for token in passage)], dtype=np.int64)
        links.append((np.array(question, dtype=np.int64)[:, None] * base + sources).reshape(-1))
        sizes.append(np.full(len(question), len(sources)))
    size = np.concatenate(sizes)
    return np.concatenate(links), np.repeat(np.arange(len(size)), size), base


def _totals(groups: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of the values of each group; groups are numbered from 0."""
    return np.bincount(groups, values).astype(np.float64)
