"""What a synthesis will ask, before any of it is spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from embexp.types import Request

CHARACTERS_PER_TOKEN = 4.0
"""English text in the vocabularies of current models; other languages need more tokens."""
TOKENS_PER_MESSAGE = 6


@dataclass(frozen=True)
class Plan:
    """How many requests a synthesis will make, and what the first of them look like.

    Attributes:
        requests: The requests expected in all, with those that rejects will cost.
        completion_tokens: The mean length of an answer, in tokens.
        capacity: The most queries that can be asked for; None where there is no bound.
        first: Opens a new iterator over the requests of the first round; nothing is asked.
    """

    requests: int
    completion_tokens: float
    first: Callable[[], Iterator[Request]] = field(repr=False)
    capacity: int | None = None

    def prompt_tokens(self, sample: int = 50) -> float:
        """Return the mean length of a prompt in tokens, estimated at four characters each.

        Args:
            sample: How many of the first requests to render.
        """
        counts = [_tokens(request) for request in islice(self.first(), sample)]
        return sum(counts) / len(counts) if counts else 0.0


def requests_for(target: int, per_call: int, expected_yield: float) -> int:
    """Return how many calls write ``target`` pairs when each slot is accepted with a probability."""
    return math.ceil(target / (per_call * expected_yield))


def _tokens(request: Request) -> float:
    contents: Iterable[str] = (message.content for message in request.messages)
    return sum(len(content) / CHARACTERS_PER_TOKEN + TOKENS_PER_MESSAGE for content in contents)
