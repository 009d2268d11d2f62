"""Batches without false negatives, of texts of like length, the same ones for the same seed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from embexp.errors import ConfigError

log = logging.getLogger(__name__)


SMALLEST_SHARE = 4
OPEN_BATCHES_TRIED = 64
WORTH_A_WARNING = 0.02


class Keys(NamedTuple):
    """What a row brings into its batch, and what no other row of the batch may bring.

    A row brings its passages and shuns every answer to its query; what two rows must not share
    (a query, a chunk) stands in both. Rows that meet no other row's passages have neither.
    """

    brings: tuple[str, ...] = ()
    shuns: tuple[str, ...] = ()


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


def plan_batches(
    keys: Sequence[Keys],
    lengths: Sequence[int],
    *,
    batch_size: int,
    epochs: int,
    seed: int,
    length_pool: int = 8,
) -> BatchPlan:
    """Cut shuffled rows into batches in which no row brings what another shuns.

    Rows are shuffled, sorted by length within pools of ``length_pool`` batches (that saves padding,
    while chance still decides which rows meet), put into the first batch that they fit in, and the
    batches are shuffled again. Batches are filled evenly. A batch with less than a quarter of the
    rows of the largest is dropped: a step on a handful of rows would weigh as much as a full one.

    Args:
        keys: What each row brings and shuns.
        lengths: Each row's length, in any unit.
        batch_size: The most rows in a batch.
        epochs: How many passes over the rows.
        seed: Of the shuffling.
        length_pool: Batches per pool, 0 to leave lengths mixed.

    Raises:
        ConfigError: No batch of two rows can be made.
    """
    least = 2 if any(row.shuns for row in keys) else 1
    planned = [
        _epoch(keys, lengths, batch_size=batch_size, seed=seed, epoch=epoch, pool=length_pool, least=least)
        for epoch in range(epochs)
    ]
    steps = min(len(batches) for batches in planned)
    if steps == 0:
        raise ConfigError(
            f"No batch can be made of {len(keys)} training pairs: each two share a query, a passage or a "
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
            logging.WARNING if plan.left_out > WORTH_A_WARNING * rows else logging.INFO,
            "%d of %d training pairs are left out of an epoch: they share a query, passage, chunk or "
            "document with too many others (trainer.distinct=text shares less).",
            plan.left_out,
            rows,
        )
    if rows >= batch_size and mean < batch_size / 2:
        log.warning(
            "Batches hold %.0f pairs instead of trainer.batch_size=%d, so that no two share a query, "
            "passage, chunk or document: fewer in-batch negatives (trainer.distinct=text shares less).",
            mean,
            batch_size,
        )


def _epoch(
    keys: Sequence[Keys],
    lengths: Sequence[int],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    pool: int,
    least: int,
) -> list[tuple[int, ...]]:
    import numpy as np

    rows = len(keys)
    if rows == 0:
        return []
    generator = np.random.default_rng([seed, epoch])
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
    kept = [tuple(batch) for batch in batches if len(batch) >= max(least, largest // SMALLEST_SHARE)]
    return [kept[at] for at in generator.permutation(len(kept)).tolist()]


def _fill(order: Sequence[int], keys: Sequence[Keys], size: int) -> list[list[int]]:
    """Put each row into the first of the oldest open batches in which it meets nothing that it must not.

    Only so many open batches are tried, so that the time stays linear however many rows share a key.
    """
    full: list[list[int]] = []
    open_batches: list[_OpenBatch] = []
    for row in order:
        at = next(
            (at for at, batch in enumerate(open_batches[:OPEN_BATCHES_TRIED]) if batch.takes(keys[row])),
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
        self._brings: set[str] = set()
        self._shuns: set[str] = set()

    def takes(self, row: Keys) -> bool:
        return self._brings.isdisjoint(row.shuns) and self._shuns.isdisjoint(row.brings)

    def add(self, row: int, keys: Keys) -> None:
        self.rows.append(row)
        self._brings.update(keys.brings)
        self._shuns.update(keys.shuns)
