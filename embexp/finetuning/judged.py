"""Rows of two texts and a judgment: a score, a match or none, or a class."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from embexp.errors import ConfigError
from embexp.finetuning.anchored import MOST_GIVEN
from embexp.finetuning.batches import Keys
from embexp.finetuning.rows import Request, Rows, sample

log = logging.getLogger(__name__)
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
                "a loss over scores needs pairs that differ. Set trainer.positive_from, or give labels."
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
