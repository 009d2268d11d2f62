"""Drops queries and written passages that stand in the set already, exactly or nearly."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from embexp.synthesis.drafts import Draft
from embexp.synthesis.filters.funnel import Kept, sift
from embexp.synthesis.query_text import key

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

PERMUTATIONS = 64
QUERY_RUN = 4
PASSAGE_RUN = 8
SLACK = 0.2
"""MinHash with 64 permutations errs by 0.05 at a similarity of 0.8; the exact similarity decides."""


@dataclass
class NearTexts:
    """Texts seen so far, findable by likeness.

    Memory grows with what is kept: a text, and 64 numbers in the index, about 3 kB for each.
    MinHash: Broder, On the resemblance and containment of documents (1997).

    Args:
        threshold: The Jaccard similarity of character runs from which two texts count as the same; 1 for
            equal texts alone.
        width: The length of a run.
    """

    threshold: float
    width: int
    _known: dict[str, int] = field(default_factory=dict, init=False)
    _texts: list[str] = field(default_factory=list, init=False)
    _last: tuple[str | None, Any] = field(default=(None, None), init=False)

    @cached_property
    def _lsh(self) -> MinHashLSH:
        from datasketch import MinHashLSH

        return MinHashLSH(threshold=max(self.threshold - SLACK, 0.3), num_perm=PERMUTATIONS)

    @cached_property
    def _empty(self) -> MinHash:
        from datasketch import MinHash

        return MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=zlib.crc32)

    def find(self, text: str) -> str | None:
        """Return a text seen before that this one repeats, as ``key`` writes it, None if it is new."""
        normal = key(text)
        if normal in self._known:
            return normal
        if self.threshold >= 1:
            return None
        runs = _runs(normal, self.width)
        for at in sorted(self._lsh.query(self._signature(normal))):
            other = _runs(self._texts[at], self.width)
            if jaccard(runs, other) >= self.threshold:
                return str(self._texts[at])
        return None

    def add(self, text: str) -> None:
        """Remember a text."""
        normal = key(text)
        if normal in self._known:
            return
        at = self._known[normal] = len(self._texts)
        self._texts.append(normal)
        if self.threshold < 1:
            self._lsh.insert(at, self._signature(normal))

    def _signature(self, normal: str) -> MinHash:
        if self._last[0] == normal:  # a text that was just looked for is often added next
            return self._last[1]
        runs = _runs(normal, self.width)
        signature = self._empty.copy()
        signature.update_batch([run.encode("utf-8", "surrogatepass") for run in runs])
        self._last = (normal, signature)
        return signature


@dataclass(frozen=True)
class Duplicates:
    """Compares queries over the whole set, and positives too where a language model wrote them.

    Args:
        threshold: The similarity, in (0, 1], from which two texts count as the same; 1: exact repeats alone.
        passages: Whether positives must be new as well, and negatives must differ from their positive.
        seen: Queries that count as being in the set: the examples that a prompt shows are not to come back.
    """

    threshold: float
    passages: bool = False
    seen: tuple[str, ...] = ()
    name: str = "duplicates"

    @cached_property
    def _queries(self) -> NearTexts:
        texts = NearTexts(self.threshold, width=QUERY_RUN)
        for query in self.seen:
            texts.add(query)
        return texts

    @cached_property
    def _positives(self) -> NearTexts:
        return NearTexts(self.threshold, width=PASSAGE_RUN)

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts that are new, and remember them."""
        return sift(drafts, self._why)

    def _why(self, draft: Draft) -> str | None:
        pair = draft.pair
        if found := self._queries.find(pair.query):
            return f"there is {found!r}"
        if self.passages:
            if found := self._positives.find(pair.positive):
                return f"there is a passage {found[:80]!r}"
            if any(self._alike(pair.positive, text) for text in pair.negatives):
                return "the negative repeats the positive"
            self._positives.add(pair.positive)
        self._queries.add(pair.query)
        return None

    def _alike(self, one: str, other: str) -> bool:
        return jaccard(_runs(key(one), PASSAGE_RUN), _runs(key(other), PASSAGE_RUN)) >= self.threshold


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """Return |A ∩ B| / |A ∪ B|; at least one of the sets must not be empty."""
    return len(one & other) / len(one | other)


def _runs(text: str, width: int) -> frozenset[str]:
    padded = text.ljust(width)
    return frozenset(padded[at : at + width] for at in range(len(padded) - width + 1))
