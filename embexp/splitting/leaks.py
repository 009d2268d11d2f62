"""The leak audit: what training could have seen of the questions and passages it is tested on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from embexp.splitting.shingles import near_duplicates
from embexp.splitting.split import SplitSettings
from embexp.types import Leaks, Pair, Splits

log = logging.getLogger(__name__)
PASSAGE_SHINGLE = 5
QUERY_SHINGLE = 4


@dataclass(frozen=True)
class _Found:
    documents: set[str]
    passages: set[str]
    queries: set[str]

    def knows(self, pair: Pair) -> bool:
        return pair.document_id in self.documents or pair.positive in self.passages


def audit(splits: Splits, settings: SplitSettings | None = None) -> tuple[Splits, Leaks]:
    """Take out of train, and out of dev, what nearly equals something that is held out from it.

    Train is compared with dev and test, dev with test. Where the test split is the set's own, the
    documents that it shares with training are counted and stay, and only questions are removed.

    Args:
        splits: What ``split_by_document`` returned.
        settings: The similarities from which texts count as the same; the defaults if None.

    Returns:
        The splits without leaks, and the counts of distinct passages and questions found.
    """
    settings = settings or SplitSettings()
    own = any(pair.split for pair in splits.test)
    dev_found = _find(splits.dev, splits.test, settings)
    dev = _without(splits.dev, dev_found, own=own)
    found = _find(splits.train, [*dev, *splits.test], settings)
    train = _without(splits.train, found, own=own)
    leaks = Leaks(
        documents=len(_documents(splits.train) & _documents(splits.test)),
        near_duplicate_chunks=len(found.passages | dev_found.passages),
        near_duplicate_queries=len(found.queries | dev_found.queries),
        removed_from_train=len(splits.train) - len(train),
        removed_from_dev=len(splits.dev) - len(dev),
    )
    _tell(leaks, own=own)
    return Splits(train, dev, splits.test), leaks


def _find(pairs: Sequence[Pair], held_out: Sequence[Pair], settings: SplitSettings) -> _Found:
    """Find near-duplicates; the passages of a document that both sides share are not counted again."""
    shared = _documents(pairs) & _documents(held_out)
    return _Found(
        documents=shared,
        passages=near_duplicates(
            (pair.positive for pair in pairs if pair.document_id not in shared),
            (pair.positive for pair in held_out if pair.document_id not in shared),
            threshold=settings.near_duplicate_passages,
            width=PASSAGE_SHINGLE,
            what="passages",
        ),
        queries=near_duplicates(
            (pair.query for pair in pairs),
            (pair.query for pair in held_out),
            threshold=settings.near_duplicate_queries,
            width=QUERY_SHINGLE,
            what="questions",
        ),
    )


def _without(pairs: Sequence[Pair], found: _Found, *, own: bool) -> list[Pair]:
    return [pair for pair in pairs if pair.query not in found.queries and (own or not found.knows(pair))]


def _documents(pairs: Sequence[Pair]) -> set[str]:
    return {pair.document_id for pair in pairs}


def _tell(leaks: Leaks, *, own: bool) -> None:
    shared = " (the set's own split, so they stay)" if own and leaks.documents else ""
    log.info(
        "Leak audit: %s documents in both train and test%s, %s near-duplicate passages and %s near-duplicate "
        "questions across splits; %s pairs taken out of train and %s out of dev.",
        f"{leaks.documents:,}",
        shared,
        f"{leaks.near_duplicate_chunks:,}",
        f"{leaks.near_duplicate_queries:,}",
        f"{leaks.removed_from_train:,}",
        f"{leaks.removed_from_dev:,}",
    )
