"""Batches without false negatives, the same ones for the same seed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from embexp.errors import ConfigError

log = logging.getLogger(__name__)

LENGTH_POOL = 8
"""Batches within whose rows lengths are sorted, where texts are padded."""
_SMALLEST_SHARE = 4
_OPEN_BATCHES_TRIED = 64
_WARN_ABOVE = 0.02


class RowKeys(NamedTuple):
    """What a row contains, and what no other row of its batch may contain.

    A row contains its passages and excludes every answer to its query; what two rows must not share
    (a query, a chunk) is in both. Both are empty for losses that do not compare rows with each other.
    """

    contains: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The batches of all epochs, as positions in the training rows; every epoch has the same number."""

    epochs: tuple[tuple[tuple[int, ...], ...], ...]
    left_out: int

    @property
    def steps(self) -> int:
        """The number of batches in an epoch."""
        return len(self.epochs[0])

    def batch(self, step: int) -> tuple[int, ...]:
        """Return the rows of a step, counted from 0 over all epochs."""
        return self.epochs[step // self.steps][step % self.steps]

    def rows(self, start: int, end: int) -> int:
        """Return how many rows the steps from ``start`` to before ``end`` train on."""
        return sum(len(self.batch(step)) for step in range(start, end))


class PlannedBatchSampler:
    """Gives the planned batches of each epoch to a DataLoader."""

    def __init__(self, plan: BatchPlan) -> None:
        self._plan = plan
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._plan.steps

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._plan.epochs[self._epoch]:
            yield list(batch)


def plan_batches(
    keys: Sequence[RowKeys],
    lengths: Sequence[int],
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    length_pool: int = LENGTH_POOL,
) -> BatchPlan:
    """Divide shuffled rows into batches in which no row contains what another excludes.

    Rows are shuffled, sorted by length within pools of ``length_pool`` batches (that saves padding,
    while it remains random which rows meet), put into the first batch that they fit in, and the
    batches are shuffled again. Batches are filled evenly. A batch with less than a quarter of the
    rows of the largest is dropped: a step on a handful of rows would weigh as much as a full one.

    Args:
        keys: What each row contains and excludes.
        lengths: Each row's length, in any unit.
        batch_size: The most rows in a batch.
        epochs: How many passes over the rows.
        seed: Fixes the shuffling.
        length_pool: Batches per pool, 0 to leave lengths mixed.

    Raises:
        ConfigError: No batch of two rows can be made.
    """
    smallest = 2 if any(row.excludes for row in keys) else 1
    planned = [
        _epoch(keys, lengths, batch_size=batch_size, seed=[seed, epoch], pool=length_pool, smallest=smallest)
        for epoch in range(epochs)
    ]
    steps = min(len(batches) for batches in planned)
    if steps == 0:
        raise ConfigError(
            f"No batch can be made of {len(keys)} training pairs: every two share a query, a passage or a "
            "chunk (without a chunk id: a document), and would be each other's false negatives. Give pairs "
            "of more documents, set trainer.distinct=text, or choose a loss without in-batch negatives "
            "(loss=cosent)."
        )
    plan = BatchPlan(
        epochs=tuple(tuple(batches[:steps]) for batches in planned),
        left_out=max(len(keys) - sum(map(len, batches[:steps])) for batches in planned),
    )
    _report(plan, rows=len(keys), batch_size=batch_size)
    return plan


def _report(plan: BatchPlan, *, rows: int, batch_size: int) -> None:
    mean = (rows - plan.left_out) / plan.steps
    if plan.left_out:
        log.log(
            logging.WARNING if plan.left_out > _WARN_ABOVE * rows else logging.INFO,
            "%d of %d training pairs are left out of an epoch: they share a query, passage, chunk or "
            "document with too many others (trainer.distinct=text is less strict).",
            plan.left_out,
            rows,
        )
    if rows >= batch_size and mean < batch_size / 2:
        log.warning(
            "Batches hold %.0f pairs instead of trainer.batch_size=%d, so that no two share a query, "
            "passage, chunk or document: fewer in-batch negatives (trainer.distinct=text is less strict).",
            mean,
            batch_size,
        )


def _epoch(
    keys: Sequence[RowKeys],
    lengths: Sequence[int],
    *,
    batch_size: int,
    seed: list[int],
    pool: int,
    smallest: int,
) -> list[tuple[int, ...]]:
    import numpy as np

    rows = len(keys)
    if rows == 0:
        return []
    generator = np.random.default_rng(seed)
    order: list[int] = generator.permutation(rows).tolist()
    size = -(-rows // -(-rows // batch_size))
    if pool:
        span = size * pool
        order = [
            row
            for start in range(0, rows, span)
            for row in sorted(order[start : start + span], key=lengths.__getitem__)
        ]
    batches = _fill(order, keys, size)
    largest = max(map(len, batches))
    kept = [tuple(batch) for batch in batches if len(batch) >= max(smallest, largest // _SMALLEST_SHARE)]
    return [kept[at] for at in generator.permutation(len(kept)).tolist()]


def _fill(order: Sequence[int], keys: Sequence[RowKeys], size: int) -> list[list[int]]:
    """Put each row into the oldest open batch that accepts it.

    Only a limited number of open batches is tried, which keeps the time linear however many rows share a key.
    """
    full: list[list[int]] = []
    open_batches: list[_OpenBatch] = []
    for row in order:
        at = next(
            (at for at, batch in enumerate(open_batches[:_OPEN_BATCHES_TRIED]) if batch.accepts(keys[row])),
            len(open_batches),
        )
        if at == len(open_batches):
            open_batches.append(_OpenBatch())
        open_batches[at].add(row, keys[row])
        if len(open_batches[at].rows) == size:
            full.append(open_batches.pop(at).rows)
    return [*full, *(batch.rows for batch in open_batches)]


class _OpenBatch:
    def __init__(self) -> None:
        self.rows: list[int] = []
        self._contains: set[str] = set()
        self._excludes: set[str] = set()

    def accepts(self, row: RowKeys) -> bool:
        return self._contains.isdisjoint(row.excludes) and self._excludes.isdisjoint(row.contains)

    def add(self, row: int, keys: RowKeys) -> None:
        self.rows.append(row)
        self._contains.update(keys.contains)
        self._excludes.update(keys.excludes)
