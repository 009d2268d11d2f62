"""What a language model promises, and the records that it is asked with and answers with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat: ``role`` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a language model.

    ``messages`` holds the chat; a model in completion mode gets their contents joined by blank
    lines. ``schema`` is the JSON schema that the answer must follow, None for plain text.
    ``tag`` names the request in logs and in counts ("taxonomy", "rag"); it does not shape the answer.
    """

    messages: tuple[Message, ...]
    max_tokens: int = 1024
    temperature: float = 0.7
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, object] | None = None
    schema_name: str = "answer"
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent: tokens by kind, requests, and US dollars at the configured prices."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Completion:
    """A language model's answer; ``model`` is the one that really wrote it."""

    text: str
    model: str
    finish_reason: str
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Answer:
    """A request with its completion, or with the reason for which it has none.

    ``failure`` names why this one request could not be answered (too long even when shrunk, refused
    as invalid); what stops a whole run is raised instead.
    """

    request: Request
    completion: Completion | None
    failure: str | None = None


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


class Estimate(Protocol):
    """A job's price and time."""

    def lines(self) -> list[str]:
        """Return it as sentences for a person."""
