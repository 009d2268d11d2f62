"""Drops queries that share too few words with their passage: the check for models that quote no evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embexp.synthesis.drafts import Draft
from embexp.synthesis.filters.funnel import Kept, sift
from embexp.synthesis.queries import words

STEM = 4
"""Words are compared by their first letters, which stands in for stemming in most languages."""
LOOKED_AT = 200_000


@dataclass(frozen=True)
class Overlap:
    """Compares the query's longer words with the passage's.

    Args:
        share: The part of the query's words of four letters or more, in [0, 1], that must begin like a word
            of the passage.
    """

    share: float
    name: str = "overlap"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts that speak of what their passage speaks of."""
        return sift(drafts, self._why)

    def _why(self, draft: Draft) -> str | None:
        asked = _stems(draft.pair.query)
        if not asked:
            return None
        share = len(asked & _stems(draft.pair.positive[:LOOKED_AT])) / len(asked)
        return None if share >= self.share else f"{share:.0%} of its words occur in the passage"


def _stems(text: str) -> set[str]:
    return {
        word[:STEM] for word in words(text.casefold()) if len(word) >= STEM and word not in _QUESTION_WORDS
    }


_QUESTION_WORDS = frozenset(
    (
        "what",
        "when",
        "where",
        "which",
        "whose",
        "whom",
        "does",
        "have",
        "there",
        "this",
        "that",
        "with",
        "from",
    )
)
