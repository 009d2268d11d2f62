"""Language models, and what writes pairs with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from embexp.protocols.retrieval import Index
from embexp.types import (
    Answer,
    Chunk,
    Document,
    Pair,
    Request,
    Usage,
)

if TYPE_CHECKING:
    pass


class LLM(Protocol):
    """A language model behind its pace, its retries, its journal and its budget."""

    @property
    def name(self) -> str:
        """The model's name in tables and manifests."""

    @property
    def chat(self) -> bool:
        """False for a base model that only completes text: it needs few-shot examples."""

    def ask(self, requests: Iterable[Request]) -> Iterator[Answer]:
        """Yield one answer for each request, in the order of the requests.

        Requests are drawn lazily and asked concurrently within the limits; each response is on disk
        before it is yielded, and one that is on disk already is not asked again.

        Raises:
            EmbexpError: The key is refused, the budget is spent, or the service does not come back;
                everything received is kept, and the same command goes on from there.
        """

    def usage(self) -> Usage:
        """Return what this run's answers cost, those from the journal left out."""


class LLMSource(Protocol):
    """A configured language model; building one costs nothing and needs no key."""

    def check(self) -> None:
        """Raise a ConfigError if the key or the program that it needs is missing."""

    def fingerprint(self) -> str:
        """Return a digest of what shapes the answers: the model and its parameters, not the pace."""

    def open(self, journal: Path) -> AbstractContextManager[LLM]:
        """Connect, with the answers that ``journal`` holds already."""


@runtime_checkable
class Priced(Protocol):
    """A language model that can say beforehand what asking it takes."""

    @property
    def chat(self) -> bool:
        """Whether the model chats; else it only completes text."""

    def estimate(self, *, requests: int, prompt_tokens: int, completion_tokens: int) -> Estimate:
        """Return price and time of ``requests`` requests of that many tokens each."""


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


class Estimate(Protocol):
    """A job's price and time."""

    def lines(self) -> list[str]:
        """Return it as sentences for a person."""


@runtime_checkable
class Inventing(Protocol):
    """A synthesis that needs no knowledge base: its passages are the corpus."""

    def documents(self, pairs: Iterable[Pair]) -> Iterator[Document]:
        """Yield the documents behind the pairs that it wrote."""
