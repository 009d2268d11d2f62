"""Near-duplicate texts: MinHash finds candidates, exact Jaccard similarity decides."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from embexp.data.near_duplicates import near_duplicates
from embexp.data.records import Leak, Leaks, Pair, SplitName, Splits
from embexp.data.splitting import SplitSettings

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)


PASSAGE_SHINGLE = 5
QUERY_SHINGLE = 4
EXAMPLES = 50
LONGEST = 1000
"""Characters of a leaking text that an example keeps."""
Matches = Mapping[str, tuple[str, float]]
"""A text to the held-out text that it matches, and their similarity."""


@dataclass(frozen=True)
class _Found:
    documents: set[str]
    passages: Matches
    queries: Matches

    @property
    def by_kind(self) -> tuple[tuple[Literal["question", "passage"], Matches], ...]:
        return ("question", self.queries), ("passage", self.passages)

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
        near_duplicate_chunks=len(found.passages.keys() | dev_found.passages.keys()),
        near_duplicate_queries=len(found.queries.keys() | dev_found.queries.keys()),
        removed_from_train=len(splits.train) - len(train),
        removed_from_dev=len(splits.dev) - len(dev),
        examples=_examples({"train": found, "dev": dev_found}),
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


def _examples(found: Mapping[SplitName, _Found]) -> tuple[Leak, ...]:
    """Return the most alike: questions, then passages, half each where there are enough of both."""
    leaks = [
        Leak(kind, split, text[:LONGEST], held_out[:LONGEST], round(similarity, 3))
        for split, each in found.items()
        for kind, texts in each.by_kind
        for text, (held_out, similarity) in texts.items()
    ]
    leaks.sort(key=lambda leak: (-leak.similarity, leak.text))
    by_kind = [[leak for leak in leaks if leak.kind == kind] for kind in ("question", "passage")]
    few = min(EXAMPLES // 2, *map(len, by_kind))
    kept = [leak for each in by_kind for leak in each[:few]]
    rest = [leak for each in by_kind for leak in each[few:]]
    return (*kept, *rest[: EXAMPLES - len(kept)])


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
