"""Batches of texts of similar length, in an order that keeps the progress bar's rate steady."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence


def similar_batches(lengths: Sequence[int], size: Callable[[int], int]) -> list[list[int]]:
    """Return the numbers of texts in batches of similar length, which need little padding.

    The batch of the longest texts comes first, so that too little memory is noticed at once. The others are
    shuffled with a fixed seed: sorted by length, the remaining time would be overestimated several times.

    Args:
        lengths: The length of each text.
        size: Tells how many texts a batch may have, 1 or more, by the length of its longest.
    """
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    batches, start = [], 0
    while start < len(order):
        batches.append(order[start : start + size(lengths[order[start]])])
        start += len(batches[-1])
    others = batches[1:]
    random.Random(0).shuffle(others)
    return [*batches[:1], *others]
