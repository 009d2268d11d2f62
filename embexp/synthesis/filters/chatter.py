"""Drops refusals, remarks about the task, and markup that a query or a passage has no business with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embexp.synthesis.drafts import Draft
from embexp.synthesis.filters.funnel import Kept, sift
from embexp.synthesis.tidy import chatter


@dataclass(frozen=True)
class Chatter:
    """Looks at the query, and at the passages too where a language model wrote them."""

    passages: bool = False
    name: str = "chatter"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts whose texts are the thing itself."""
        return sift(drafts, self._why)

    def _why(self, draft: Draft) -> str | None:
        texts = [draft.pair.query]
        if self.passages:
            texts += [draft.pair.positive, *draft.pair.negatives]
        return next((why for why in map(chatter, texts) if why), None)
