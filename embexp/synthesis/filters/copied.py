"""Drops queries that only repeat a stretch of their passage: they teach a model to match strings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from embexp.synthesis.drafts import Draft
from embexp.synthesis.filters.funnel import Kept, sift
from embexp.synthesis.queries import key

LEAST = 5
"""Shorter runs of words ("change the battery of") are shared by accident."""
LOOKED_AT = 200_000


@dataclass(frozen=True)
class Copied:
    """Looks for one run of words that makes up ``share`` of the query and stands in the passage.

    Args:
        share: The part of the query's words, in (0, 1], from which a common run counts as copied; the run
            must have at least five words, or be the whole of a query of four.
    """

    share: float
    name: str = "copied"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts in words of their own."""
        return sift(drafts, self._why)

    def _why(self, draft: Draft) -> str | None:
        words = key(draft.pair.query).split()
        run = len(words) if len(words) == LEAST - 1 else max(LEAST, math.ceil(self.share * len(words)))
        if run > len(words):
            return None
        passage = f" {key(draft.pair.positive[:LOOKED_AT])} "
        for at in range(len(words) - run + 1):
            stretch = " ".join(words[at : at + run])
            if f" {stretch} " in passage:
                return f"copied: {stretch!r}"
        return None
