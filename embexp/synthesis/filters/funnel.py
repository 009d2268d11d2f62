"""The funnel: filters in sequence, with counts and examples of what each one drops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from embexp.synthesis.prompts import shorten
from embexp.synthesis.tasks import Draft

_SHOWN = 200
"""Characters of a dropped query in an example."""


class Filter(Protocol):
    """Drops bad drafts; may have a memory (duplicates)."""

    @property
    def name(self) -> str:
        """The reason under which drops are counted."""

    def reasons(self, drafts: Sequence[Draft]) -> Sequence[str | None]:
        """Return why each draft is dropped, None where it is kept."""


@dataclass
class Tally:
    """The dropped queries so far: reason -> count, and reason -> the first few different examples."""

    rejected: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    examples_kept: int = 5

    def drop(self, reason: str, text: str, why: str) -> None:
        """Count one dropped query under ``reason``; ``why`` explains this one."""
        self.rejected[reason] += 1
        shown = self.examples.setdefault(reason, [])
        example = f"{shorten(text, _SHOWN)} ({why})" if text else why
        if len(shown) < self.examples_kept and example not in shown:
            shown.append(example)


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
            checked, kept = kept, []
            for draft, why in zip(checked, step.reasons(checked), strict=True):
                if why is None:
                    kept.append(draft)
                else:
                    self.tally.drop(step.name, draft.pair.query, why)
        return kept
