"""What the writing of pairs hands from step to step: slots, drafts, and what is wrong with an answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from embexp.data.records import Pair


@dataclass(frozen=True, slots=True)
class Slot:
    """One query that is asked for: its number in the prompt, its kind, who asks, and how hard it is."""

    number: int
    kind: str
    persona: str
    difficulty: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A pair that has not yet passed the filters."""

    pair: Pair
    slot: Slot


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a slot has no draft: a ``reason`` to count by, the sentence to show, and the answer's text."""

    slot: Slot
    reason: str
    sentence: str
    text: str = ""
    hopeless: bool = False
    """True where asking again would be in vain: a refusal, or a request that the service turned down."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one answer holds."""

    drafts: list[Draft] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
