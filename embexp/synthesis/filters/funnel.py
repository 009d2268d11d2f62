"""The funnel: filters in sequence, with counts and examples of what each one drops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from embexp.synthesis.prompts import shorten
from embexp.synthesis.tasks import Draft

_SHOWN = 200
"""Characters of a dropped query in an example."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The drafts that a filter keeps, and those that it drops, each with the reason."""

    kept: list[Draft]
    dropped: list[tuple[Draft, str]] = field(default_factory=list)


class Filter(Protocol):
    """Keeps good drafts; may have a memory (duplicates)."""

    @property
    def name(self) -> str:
        """The reason under which drops are counted."""

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Split the drafts, in their order, into kept and dropped ones."""


def sift(drafts: Sequence[Draft], why: Callable[[Draft], str | None]) -> Kept:
    """Split drafts by a function that returns why one is dropped, None where it is kept."""
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
    """The dropped queries so far: reason -> count, and reason -> the first few examples."""

    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    examples_kept: int = 5

    def drop(self, reason: str, text: str, why: str) -> None:
        """Count one dropped query under ``reason``; ``why`` explains this one."""
        self.rejected[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < self.examples_kept:
            shown.append(f"{shorten(text, _SHOWN)} ({why})" if text else why)


@dataclass(frozen=True)
class Funnel:
    """Passes drafts through filters in order and counts what is dropped."""

    filters: Sequence[Filter]
    tally: Tally

    def keep(self, drafts: Sequence[Draft]) -> list[Draft]:
        """Return the drafts that every filter keeps."""
        kept = list(drafts)
        for step in self.filters:
            if not kept:
                break
            result = step.keep(kept)
            for draft, why in result.dropped:
                self.tally.drop(step.name, draft.pair.query, why)
            kept = result.kept
        return kept
