"""A part of a stream, spread evenly over it and the same each time: chosen by hash, not by order."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Set
from typing import TypeVar

from embexp.errors import ConfigError

Item = TypeVar("Item")


def rank(key: str) -> int:
    """Return a number that depends on ``key`` alone and looks random."""
    return int.from_bytes(
        hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )


def sample(
    items: Iterable[Item],
    limit: int | None,
    key: Callable[[Item], str],
    keep: Set[str] = frozenset(),
) -> Iterator[Item]:
    """Yield at most ``limit`` of the items in their own order; all of them if ``limit`` is None.

    Holds no more than the items that it yields. An item stays in a sample when the limit grows.

    Args:
        items: A stream of any length.
        limit: The size of the sample.
        key: What names an item; the choice depends on it alone.
        keep: Keys that are always in the sample, even if there are more of them than ``limit``.
    """
    if limit is None:
        yield from items
        return
    kept: list[tuple[int, Item]] = []
    heap: list[tuple[int, int, Item]] = []
    for position, item in enumerate(items):
        name = key(item)
        if name in keep:
            kept.append((position, item))
        else:
            heapq.heappush(heap, (-rank(name), -position, item))
        while heap and len(heap) + len(kept) > limit:
            heapq.heappop(heap)
    chosen = kept + [(-negative, item) for _, negative, item in heap]
    for _, item in sorted(chosen, key=lambda entry: entry[0]):
        yield item


def check_limit(name: str, value: int | None) -> None:
    """Refuse a limit below one.

    Raises:
        ConfigError: The message names the key ``dataset.<name>``.
    """
    if value is not None and value < 1:
        raise ConfigError(f"dataset.{name}={value}: give a number of 1 or more, or null for everything.")
