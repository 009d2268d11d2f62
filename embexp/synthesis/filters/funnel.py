"""Filters in a row, with counts of what each dropped and some examples of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from embexp.synthesis.drafts import Draft
from embexp.synthesis.prompts import shorten

SHOWN = 200
"""Characters of a dropped query that an example keeps."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a filter let through, and what it dropped with the sentence that says why."""

    kept: list[Draft]
    dropped: list[tuple[Draft, str]] = field(default_factory=list)


class Filter(Protocol):
    """Lets good drafts through; may remember what it saw (duplicates)."""

    @property
    def name(self) -> str:
        """The reason under which drops are counted."""

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Part the drafts, in their order, into kept and dropped."""


def sift(drafts: Sequence[Draft], why: Callable[[Draft], str | None]) -> Kept:
    """Part drafts by a function that returns why one is dropped, None where it is kept."""
    result = Kept([])
    for draft in drafts:
        reason = why(draft)
        if reason is None:
            result.kept.append(draft)
        else:
            result.dropped.append((draft, reason))
    return result


@dataclass
class Tally:
    """What was dropped so far: reason -> count, and reason -> the first few examples."""

    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    examples_kept: int = 5

    def drop(self, reason: str, text: str, why: str) -> None:
        """Count one dropped query under ``reason``; ``why`` says more about this one."""
        self.rejected[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < self.examples_kept:
            shown.append(f"{shorten(text, SHOWN)} ({why})" if text else why)


@dataclass(frozen=True)
class Funnel:
    """Passes drafts through filters in order and tallies what falls out."""

    filters: Sequence[Filter]
    tally: Tally

    def keep(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Return the drafts that every filter keeps."""
        left = list(drafts)
        for step in self.filters:
            if not left:
                break
            result = step.keep(left)
            for draft, why in result.dropped:
                self.tally.drop(step.name, draft.pair.query, why)
            left = result.kept
        return left
