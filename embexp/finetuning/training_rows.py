"""Training rows: from pairs to the columns that a loss reads."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from embexp.data.labels import LabelScale
from embexp.data.records import Pair
from embexp.errors import ConfigError
from embexp.finetuning.batch_sampler import Keys
from embexp.finetuning.hard_negatives import NegativeSource, PassagePool, query_keys

if TYPE_CHECKING:
    from datasets import Dataset

    from embexp.finetuning.teachers import Teacher

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
            f"{request.scale.positive_from:g}. Set dataset.positive_from to the lowest label of a positive, "
            "or choose a loss that reads scores (loss=cosent)."
        )
    return sample(list(found.values()), request.max_pairs, seed=request.seed, what="positive pairs")


MOST_GIVEN = 4


def pair_rows(request: Request) -> Rows:
    """Return (anchor, positive[, negative_1 …]) rows, with as many negatives in every row."""
    positives = positives_of(request)
    given = given_negatives(request, positives)
    everywhere = min(map(len, given))
    count = min(everywhere, MOST_GIVEN) if request.count is None else request.count
    if request.max_negatives is not None:
        count = min(count, request.max_negatives)
    if request.count is None and not count and any(given):
        log.warning(
            "%d of %d training pairs bring negatives, which are left unused: set trainer.hard_negatives=1 "
            "to use them and to find some for the others.",
            *(sum(map(bool, given)), len(given)),
        )
    negatives = topped_up(request, positives, given, count)
    columns: dict[str, Column] = {
        "anchor": [pair.query for pair in positives],
        "positive": [pair.positive for pair in positives],
    }
    for rank in range(count):
        columns[f"negative_{rank + 1}"] = [texts[rank] for texts in negatives]
    keys = [_keys(request, pair, texts) for pair, texts in zip(positives, negatives, strict=True)]
    return Rows(columns=columns, keys=keys)


def _keys(request: Request, pair: Pair, negatives: Sequence[str]) -> Keys:
    """Return what makes one row's passage a false negative for another row.

    A row brings its passages; it shuns all answers to its query. No two rows share a query, or the
    chunk or document that their passages come from.
    """
    shared = [f"id:{pair.query_key}", f"text:{pair.query}"]
    if request.distinct == "chunk":
        shared.append(f"chunk:{pair.chunk_id}" if pair.chunk_id else f"document:{pair.document_id}")
    elif request.distinct == "document":
        shared.append(f"document:{pair.document_id}")
    return Keys(
        brings=(*shared, *(f"text:{text}" for text in (pair.positive, *negatives))),
        shuns=(*shared, *(f"text:{text}" for text in request.pool.answers(pair))),
    )


def triplet_rows(request: Request) -> Rows:
    """Return (anchor, positive, negative) rows, one for each negative."""
    positives = positives_of(request)
    rows = [
        (pair.query, pair.positive, text)
        for pair, texts in zip(positives, needed_negatives(request, positives), strict=True)
        for text in texts
    ]
    anchors, matches, negatives = (list(column) for column in zip(*rows, strict=True))
    return Rows(
        columns={"anchor": anchors, "positive": matches, "negative": negatives}, keys=[Keys()] * len(rows)
    )


def given_negatives(request: Request, positives: Sequence[Pair]) -> list[tuple[str, ...]]:
    """Return the negatives that the pairs bring: listed with them, or judged low for the same query."""
    judged: dict[str, list[str]] = defaultdict(list)
    for pair in request.pairs:
        if not request.scale.is_positive(pair.label):
            for key in query_keys(pair):
                judged[key].append(pair.positive)
    given = []
    for pair in positives:
        answers = set(request.pool.answers(pair))
        listed = [*pair.negatives, *(text for key in query_keys(pair) for text in judged.get(key, ()))]
        given.append(tuple(dict.fromkeys(text for text in listed if text not in answers)))
    return given


def topped_up(
    request: Request, positives: Sequence[Pair], given: Sequence[tuple[str, ...]], count: int
) -> list[tuple[str, ...]]:
    """Return exactly ``count`` negatives for each positive: the given ones, then found ones."""
    short = [at for at, texts in enumerate(given) if len(texts) < count]
    filled = [texts[:count] for texts in given]
    if short:
        drawn = request.negatives.draw([positives[at] for at in short], count)
        for at, texts in zip(short, drawn, strict=True):
            filled[at] = tuple(dict.fromkeys((*given[at], *texts)))[:count]
    return filled


def needed_negatives(request: Request, positives: Sequence[Pair]) -> list[tuple[str, ...]]:
    """Return at least one negative for each positive."""
    given = given_negatives(request, positives)
    if request.count is None and all(given):
        return [texts[:MOST_GIVEN] for texts in given]
    return topped_up(request, positives, given, max(request.count or 1, 1))


MOST_CLASSES = 100


def _judged(request: Request, value: Callable[[float | None], float]) -> Iterator[tuple[str, str, float]]:
    """Yield (query, passage, value) of all judgments, and negatives of value 0 where contrast is missing."""
    pairs = sample(request.pairs, request.max_pairs, seed=request.seed, what="judged pairs")
    values = [value(pair.label) for pair in pairs]
    for pair, judged in zip(pairs, values, strict=True):
        yield pair.query, pair.positive, judged
        for text in pair.negatives[:MOST_GIVEN]:
            yield pair.query, text, 0.0
    flat = len(set(values)) < 2 and not any(pair.negatives for pair in pairs)
    if flat or request.count:
        positives = [pair for pair in pairs if request.scale.is_positive(pair.label) and not pair.negatives]
        if not positives and flat:
            raise ConfigError(
                f"All {len(pairs)} training pairs have the label {pairs[0].label:g}, which is no positive: "
                "a loss over scores needs pairs that differ. Set dataset.positive_from, or give labels."
            )
        drawn = request.negatives.draw(positives, max(request.count or 1, 1)) if positives else []
        for pair, texts in zip(positives, drawn, strict=True):
            for text in texts:
                yield pair.query, text, 0.0


def scored_rows(request: Request) -> Rows:
    """Return (text_a, text_b, score from 0 to 1) rows."""
    rows = list(_judged(request, request.scale.score))
    first, second, scores = (list(column) for column in zip(*rows, strict=True))
    return Rows(columns={"text_a": first, "text_b": second, "score": scores}, keys=[Keys()] * len(rows))


def binary_rows(request: Request) -> Rows:
    """Return (text_a, text_b, 0 or 1) rows."""
    rows = list(_judged(request, lambda label: float(request.scale.is_positive(label))))
    first, second, matches = (list(column) for column in zip(*rows, strict=True))
    return Rows(
        columns={"text_a": first, "text_b": second, "label": [int(match) for match in matches]},
        keys=[Keys()] * len(rows),
    )


def class_rows(request: Request) -> Rows:
    """Return (text_a, text_b, class) rows; classes are the distinct whole-number labels, in rising order.

    Pairs without labels make two classes: matches, and negatives that were found for them.

    Raises:
        ConfigError: The labels are no classes.
    """
    labels = {pair.label for pair in request.pairs if pair.label is not None}
    if broken := sorted(label for label in labels if not float(label).is_integer()):
        raise ConfigError(
            f"loss=softmax reads classes, and the training pairs have scores such as {broken[0]:g}: choose "
            "loss=cosent, which reads scores, or give each class a whole number as its label."
        )
    if len(labels) > MOST_CLASSES:
        raise ConfigError(
            f"loss=softmax reads classes, and the training pairs have {len(labels)} different labels, more "
            f"than {MOST_CLASSES}: choose loss=cosent, which reads scores, or give fewer classes."
        )
    rows = list(_judged(request, lambda label: 1.0 if label is None else label))
    first, second, found = (list(column) for column in zip(*rows, strict=True))
    numbers = {label: number for number, label in enumerate(sorted(set(found)))}
    log.info(
        "Classes of the training rows: %s",
        ", ".join(f"label {label:g} ({found.count(label)} rows)" for label in numbers),
    )
    columns = {"text_a": first, "text_b": second, "label": [numbers[label] for label in found]}
    return Rows(columns=columns, keys=[Keys()] * len(rows), outputs=len(numbers))
