"""The leak audit: texts of train and dev that equal or nearly equal a held-out text are removed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from embexp.data.near_duplicates import Match, near_duplicates
from embexp.data.records import Pair, SplitName
from embexp.data.splitting import Splits, SplitSettings

log = logging.getLogger(__name__)

_PASSAGE_SHINGLE = 5
QUERY_SHINGLE = 4
_MAX_EXAMPLES = 50
_MAX_CHARACTERS = 1000
"""Of a text that an example shows."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A text of ``split`` that equals or nearly equals a held-out one; ``similarity`` is Jaccard's."""

    kind: Literal["question", "passage"]
    split: SplitName
    text: str
    held_out: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Leaks:
    """The result of the audit: distinct leaking texts, and the pairs removed from train and dev.

    ``documents`` counts those in train and in test at once, which happens only where a data set has a
    split of its own. ``examples`` holds the most similar texts.
    """

    documents: int = 0
    near_duplicate_chunks: int = 0
    near_duplicate_queries: int = 0
    removed_from_train: int = 0
    removed_from_dev: int = 0
    examples: Sequence[Leak] = ()


@dataclass(frozen=True)
class _Overlap:
    """What one split shares with those held out from it: documents, and texts with what they match."""

    documents: set[str]
    passages: Mapping[str, Match]
    queries: Mapping[str, Match]

    def holds_passage_of(self, pair: Pair) -> bool:
        return pair.document_id in self.documents or pair.positive in self.passages


def audit(splits: Splits, settings: SplitSettings | None = None) -> tuple[Splits, Leaks]:
    """Remove from train, and from dev, what nearly equals something that is held out from it.

    Train is compared with dev and test, dev with test. Where the test split is the data set's own, the
    documents and passages that it shares with training are counted and stay; only questions are removed.

    Args:
        splits: The result of ``split_by_document``.
        settings: The similarities from which texts count as the same; the defaults if None.

    Returns:
        The splits without leaks, and the counts of distinct passages and questions.
    """
    settings = settings or SplitSettings()
    own_test = any(pair.split for pair in splits.test)
    dev_overlap = _overlap(splits.dev, splits.test, settings)
    dev = _without(splits.dev, dev_overlap, own_test=own_test)
    train_overlap = _overlap(splits.train, [*dev, *splits.test], settings)
    train = _without(splits.train, train_overlap, own_test=own_test)
    leaks = Leaks(
        documents=len(_documents(splits.train) & _documents(splits.test)),
        near_duplicate_chunks=len(train_overlap.passages.keys() | dev_overlap.passages.keys()),
        near_duplicate_queries=len(train_overlap.queries.keys() | dev_overlap.queries.keys()),
        removed_from_train=len(splits.train) - len(train),
        removed_from_dev=len(splits.dev) - len(dev),
        examples=_examples({"train": train_overlap, "dev": dev_overlap}),
    )
    log.info(
        "Leak audit: %s documents in both train and test%s, %s near-duplicate passages and %s near-duplicate "
        "questions across splits; %s pairs taken out of train and %s out of dev.",
        f"{leaks.documents:,}",
        " (the data set's own split, so they stay)" if own_test and leaks.documents else "",
        f"{leaks.near_duplicate_chunks:,}",
        f"{leaks.near_duplicate_queries:,}",
        f"{leaks.removed_from_train:,}",
        f"{leaks.removed_from_dev:,}",
    )
    return replace(splits, train=train, dev=dev), leaks


def _overlap(pairs: Sequence[Pair], held_out: Sequence[Pair], settings: SplitSettings) -> _Overlap:
    """Find near-duplicates; the passages of a document that both sides share are not counted again."""
    shared = _documents(pairs) & _documents(held_out)
    return _Overlap(
        documents=shared,
        passages=near_duplicates(
            (pair.positive for pair in pairs if pair.document_id not in shared),
            (pair.positive for pair in held_out if pair.document_id not in shared),
            threshold=settings.near_duplicate_passages,
            width=_PASSAGE_SHINGLE,
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


def _without(pairs: Sequence[Pair], overlap: _Overlap, *, own_test: bool) -> list[Pair]:
    return [
        pair
        for pair in pairs
        if pair.query not in overlap.queries and (own_test or not overlap.holds_passage_of(pair))
    ]


def _documents(pairs: Sequence[Pair]) -> set[str]:
    return {pair.document_id for pair in pairs}


def _examples(overlaps: Mapping[SplitName, _Overlap]) -> tuple[Leak, ...]:
    """Return the most similar texts: questions, then passages, half each where there are enough of both."""
    questions = _leaks("question", {split: each.queries for split, each in overlaps.items()})
    passages = _leaks("passage", {split: each.passages for split, each in overlaps.items()})
    few = min(_MAX_EXAMPLES // 2, len(questions), len(passages))
    return (*questions[:few], *passages[:few], *questions[few:], *passages[few:])[:_MAX_EXAMPLES]


def _leaks(
    kind: Literal["question", "passage"], matches: Mapping[SplitName, Mapping[str, Match]]
) -> list[Leak]:
    leaks = [
        Leak(kind, split, text[:_MAX_CHARACTERS], match.text[:_MAX_CHARACTERS], round(match.similarity, 3))
        for split, texts in matches.items()
        for text, match in texts.items()
    ]
    return sorted(leaks, key=lambda leak: (-leak.similarity, leak.text))
