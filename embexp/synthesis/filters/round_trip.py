"""Drops queries that do not lead a search back to the chunk they were written for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from embexp.protocols import Index
from embexp.synthesis.drafts import Draft
from embexp.synthesis.filters.funnel import Kept, sift


@dataclass(frozen=True)
class RoundTrip:
    """Round-trip consistency: Alberti et al., ACL 2019; for retrieval, Dai et al., Promptagator, ICLR 2023.

    Args:
        index: A search over all chunks.
        k: The own chunk must be among this many hits.
    """

    index: Index
    k: int
    name: str = "round_trip"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts whose chunk comes back."""
        hits = self.index.search([draft.pair.query for draft in drafts], k=self.k)
        found = {draft.pair.id: {hit.id for hit in row} for draft, row in zip(drafts, hits, strict=True)}
        return sift(
            drafts,
            lambda draft: (
                None
                if draft.pair.chunk_id in found[draft.pair.id]
                else f"its chunk is not among the first {self.k} hits"
            ),
        )
