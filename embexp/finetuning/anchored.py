"""Rows of a query with passages that answer it and passages that do not."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence

from embexp.finetuning.batches import Keys
from embexp.finetuning.negatives import query_keys
from embexp.finetuning.rows import Column, Request, Rows, positives_of
from embexp.types import Pair

log = logging.getLogger(__name__)
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
    shared = [f"id:{pair.query_id or pair.id}", f"text:{pair.query}"]
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
