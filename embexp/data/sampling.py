"""Samples and orders that depend on a hash of each item's name, never on the order of the input."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Set
from typing import TypeVar

_Item = TypeVar("_Item")


def shuffle_key(seed: int, name: str) -> tuple[bytes, str]:
    """Return a sort key that shuffles names by seed: the order depends on the names and the seed alone."""
    return _digest(f"{seed}\0{name}"), name


def sample(
    items: Iterable[_Item],
    limit: int | None,
    key: Callable[[_Item], str],
    keep: Set[str] = frozenset(),
) -> Iterator[_Item]:
    """Yield at most ``limit`` of the items in their own order, or all of them if ``limit`` is None.

    Holds no more than the items that it yields. A sample contains every smaller sample.

    Args:
        items: A stream of any length.
        limit: The size of the sample.
        key: Names an item; the choice depends on the name alone.
        keep: Names that are always in the sample, even if there are more of them than ``limit``.
    """
    if limit is None:
        yield from items
        return
    kept: list[tuple[int, _Item]] = []
    heap: list[tuple[int, int, _Item]] = []
    for position, item in enumerate(items):
        name = key(item)
        if name in keep:
            kept.append((position, item))
        else:
            heapq.heappush(heap, (-int.from_bytes(_digest(name), "big"), -position, item))
        while heap and len(heap) + len(kept) > limit:
            heapq.heappop(heap)
    chosen = kept + [(-negative, item) for _, negative, item in heap]
    for _, item in sorted(chosen, key=lambda entry: entry[0]):
        yield item


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
