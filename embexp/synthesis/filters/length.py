"""Drops queries and passages that are too short or too long to be what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embexp.synthesis.drafts import Draft
from embexp.synthesis.filters.funnel import Kept, sift
from embexp.synthesis.queries import words

COUNTED = 20_000
"""Characters of a passage that are looked at."""


@dataclass(frozen=True)
class Length:
    """Counts words of queries; of positives and negatives too where ``passage`` gives bounds.

    Args:
        query: The fewest and the most words of a query.
        passage: The fewest and the most words of a passage; None where people wrote the passages.
    """

    query: tuple[int, int]
    passage: tuple[int, int] | None = None
    name: str = "length"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts within the bounds."""
        return sift(drafts, self._why)

    def _why(self, draft: Draft) -> str | None:
        why = _outside("the query", draft.pair.query, self.query)
        if why is None and self.passage:
            texts = [("the positive", draft.pair.positive)]
            texts += [("a negative", text) for text in draft.pair.negatives]
            why = next((found for what, text in texts if (found := _outside(what, text, self.passage))), None)
        return why


def _outside(what: str, text: str, bounds: tuple[int, int]) -> str | None:
    count = len(words(text[:COUNTED]))
    if bounds[0] <= count <= bounds[1]:
        return None
    return f"{what} has {count} words, not {bounds[0]} to {bounds[1]}"
