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
_NULL = 0
"""The null word, which stands in every passage: the source of tokens that no other token explains."""


@dataclass(frozen=True)
class Alignment:
    """The links between tokens of questions and of passages, but for those to the null word; shape (links,).

    Attributes:
        questions: Token ids of questions.
        passages: The token ids of passages that they translate.
        counts: How often each does in all pairs, as expected.
        probabilities: The probability that a passage's token is translated by just this token.
    """

    questions: NDArray[np.int64]
    passages: NDArray[np.int64]
    counts: NDArray[np.float64]
    probabilities: NDArray[np.float64]


def align(questions: Sequence[Sequence[int]], passages: Sequence[Sequence[int]]) -> Alignment:
    """Align tokens by IBM Model 1 (Brown et al. 1993, "The mathematics of statistical machine translation").

    Every token of a question is assumed to translate one token of its passage, or the null word. Which one is
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
        posterior = probability[index]
        posterior /= _totals(group, posterior)[group]
        counts = _totals(index, posterior)
        probability = counts / (_totals(source, counts)[source] + SMOOTHING)
    explained = passage != _NULL
    return Alignment(question[explained], passage[explained] - 1, counts[explained], probability[explained])


def _links(
    questions: Sequence[Sequence[int]], passages: Sequence[Sequence[int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return all possible links, of which occurrence of a question's token each is, and the base of links.

    A link is the question's token times the base, plus 1 more than the passage's token (0: the null word).
    """
    base = 2 + max((token for passage in passages for token in passage), default=0)
    links, sizes = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for question, passage in zip(questions, passages, strict=True):
        sources = np.array([_NULL, *(token + 1 for token in passage)], dtype=np.int64)
        links.append((np.array(question, dtype=np.int64)[:, None] * base + sources).reshape(-1))
        sizes.append(np.full(len(question), len(sources)))
    size = np.concatenate(sizes)
    return np.concatenate(links), np.repeat(np.arange(len(size)), size), base


def _totals(groups: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of the values of each group; groups are numbered from 0."""
    return np.bincount(groups, values).astype(np.float64)
