"""Training rows, and what they are built from."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from embexp.errors import ConfigError
from embexp.finetuning.batches import Keys
from embexp.finetuning.labels import LabelScale
from embexp.finetuning.negatives import NegativeSource, PassagePool
from embexp.types import Pair

if TYPE_CHECKING:
    from datasets import Dataset

    from embexp.protocols import Teacher

log = logging.getLogger(__name__)
Distinct = Literal["text", "chunk", "document"]
Item = TypeVar("Item")
Column = list[str] | list[float] | list[int] | list[Any]
QUERY_COLUMNS = ("anchor", "text_a")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to build rows from.

    Args:
        pairs: The training pairs, labelled or not.
        scale: How their labels are read.
        pool: The training passages.
        negatives: Where negatives come from that the pairs do not bring.
        count: Negatives for each positive; None takes those that the pairs bring, and looks for one
            only where the loss cannot do without.
        max_pairs: How many positives (or judgments, for scored and binary rows) to use; None for all.
        seed: Of the sample.
        max_negatives: The most negatives that the loss reads.
        distinct: What two rows of a batch must not share besides their texts.
        teacher: Whose scores or vectors the loss learns from, where it learns from any.
    """

    pairs: Sequence[Pair]
    scale: LabelScale
    pool: PassagePool
    negatives: NegativeSource
    count: int | None = None
    max_pairs: int | None = None
    seed: int = 0
    max_negatives: int | None = None
    distinct: Distinct = "chunk"
    teacher: Teacher | None = None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Training rows: columns of equal length in the loss's order, and what batches must know of them.

    ``keys`` says, for each row, which others must not stand in its batch; they are empty for losses
    that do not compare rows with each other's passages. ``outputs`` is how many numbers the loss must
    make of a row, where the data decide that: the classes, or the length of a teacher's vectors.
    """

    columns: dict[str, Column]
    keys: list[Keys]
    outputs: int | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def lengths(self) -> list[int]:
        """The characters of each row's longest text."""
        texts = [column for column in self.columns.values() if column and isinstance(column[0], str)]
        return [max(map(len, row)) for row in zip(*texts, strict=True)]  # type: ignore[arg-type]

    def dataset(self) -> Dataset:
        """Return the rows as a ``datasets.Dataset`` in memory."""
        from datasets import Dataset

        return Dataset.from_dict(self.columns)


def sample(items: Sequence[Item], most: int | None, *, seed: int, what: str) -> list[Item]:
    """Return at most ``most`` items in their order, chosen by seed, and say so in the log."""
    if most is None or len(items) <= most:
        return list(items)
    log.warning(
        "Training on %d of %d %s, chosen at random (seed %d): set trainer.max_pairs=null to use them all, "
        "which takes about %.1f times as long.",
        *(most, len(items), what, seed, len(items) / most),
    )
    return [items[at] for at in sorted(random.Random(seed).sample(range(len(items)), most))]


def positives_of(request: Request) -> list[Pair]:
    """Return the pairs whose passage answers the query, each query and passage once."""
    found = {
        (pair.query, pair.positive): pair for pair in request.pairs if request.scale.is_positive(pair.label)
    }
    if not found:
        raise ConfigError(
            f"None of the {len(request.pairs)} training pairs is a positive: every label is below "
            f"{request.scale.positive_from:g}. Set trainer.positive_from to the lowest label of a positive, "
            "or choose a loss that reads scores (loss=cosent)."
        )
    return sample(list(found.values()), request.max_pairs, seed=request.seed, what="positive pairs")
