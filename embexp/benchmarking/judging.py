"""What a language model judged."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Judging:
    """What a language model judged: ``pairs`` of question and passage, of which ``unreadable`` got no grade.

    ``left_out`` counts the questions that it found no answer to.
    """

    model: str
    pairs: int
    unreadable: int
    left_out: int
    depth: int
