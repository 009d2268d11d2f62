"""What a synthesis promises, the plan that it can give beforehand, and the one that writes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol, runtime_checkable

from embexp.data.records import Chunk, Document, Pair
from embexp.llm.llm import LLM, Request
from embexp.retrieval.index import Index


class Synthesis(Protocol):
    """Writes training pairs from chunks."""

    def fingerprint(self) -> str:
        """Return a digest of the files that shape the pairs, prompts and examples; empty without any."""

    def pairs(
        self,
        chunks: Sequence[Chunk],
        documents: Mapping[str, Document],
        *,
        llm: LLM | None = None,
        index: Index | None = None,
    ) -> Iterator[Pair]:
        """Yield pairs in a fixed order; the documents are headers, without their texts."""

    def report(self) -> Mapping[str, object]:
        """Return what the last writing did: the funnel, what it cost, how diverse the pairs are."""


class SynthesisPlan(Protocol):
    """What a synthesis will ask; token counts are per request."""

    @property
    def requests(self) -> int:
        """How many requests there will be, those for rejected answers included."""

    @property
    def completion_tokens(self) -> float:
        """The mean length of an answer."""

    @property
    def capacity(self) -> int | None:
        """The most queries that can be asked for; None where there is no bound."""

    def prompt_tokens(self) -> float:
        """Return the mean length of a prompt."""


@runtime_checkable
class Planned(Protocol):
    """A synthesis that can say beforehand what it will ask."""

    target: int

    def plan(self, chunks: Sequence[Chunk], *, chat: bool) -> SynthesisPlan:
        """Return what writing the pairs will ask, without asking anything."""


@runtime_checkable
class Inventing(Protocol):
    """A synthesis that needs no knowledge base: its passages are the corpus."""

    def documents(self, pairs: Iterable[Pair]) -> Iterator[Document]:
        """Yield the documents behind the pairs that it wrote."""


@dataclass(frozen=True, kw_only=True)
class NoSynthesis:
    """Writes no pairs at all."""

    def fingerprint(self) -> str:
        """Return an empty digest: no file shapes it."""
        return ""

    def pairs(
        self,
        chunks: Sequence[Chunk],  # noqa: ARG002
        documents: Mapping[str, Document],  # noqa: ARG002
        *,
        llm: LLM | None = None,  # noqa: ARG002
        index: Index | None = None,  # noqa: ARG002
    ) -> Iterator[Pair]:
        """Yield nothing."""
        yield from ()

    def report(self) -> Mapping[str, object]:
        """Return nothing: there is nothing to tell."""
        return {}


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
