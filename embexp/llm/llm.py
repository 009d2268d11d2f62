"""The contract of a language model, and the records that go in and come out of it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from embexp.llm.prices import Estimate


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat: ``role`` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a language model.

    Args:
        messages: The chat; a base model completes their contents, joined by blank lines.
        max_tokens: The longest answer.
        temperature: The sampling temperature.
        seed: Seeds the sampling where the service supports it.
        stop: Texts that end the answer.
        schema: The JSON schema that the answer must follow, None for plain text.
        schema_name: The schema's name.
        tag: What the request is for ("taxonomy", "rag"), in logs and the journal; it does not shape the
            answer.
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
    """Requests, tokens by kind, and their cost in US dollars at the configured prices.

    ``unanswered`` counts requests that were sent and whose answers never arrived, because a process was
    killed or a connection broke; ``unanswered_usd`` is the most that the service can have charged for them.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    unanswered: int = 0
    unanswered_usd: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.usd + other.usd,
            self.unanswered + other.unanswered,
            self.unanswered_usd + other.unanswered_usd,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """The text that a language model wrote; ``model`` is the one that really wrote it.

    ``finish_reason`` is ``content_filter`` or ``refusal`` where the service or the model declined to answer.
    """

    text: str
    model: str
    finish_reason: str
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Answer:
    """A request with its completion, or with the reason why it has none.

    ``failure`` is "too long", "refused: …" or "no answer after 8 attempts: …". It concerns this request
    alone; an error that stops the whole run is raised instead.
    """

    request: Request
    completion: Completion | None
    failure: str | None = None


class LLM(Protocol):
    """An open language model, with rate limits, retries, a journal and a budget."""

    @property
    def name(self) -> str:
        """The model's name in tables and manifests."""

    @property
    def chat(self) -> bool:
        """False for a base model that only completes text: it needs few-shot examples."""

    def complete(self, requests: Iterable[Request]) -> Generator[Answer, None, None]:
        """Yield one answer for each request, in the order of the requests.

        Requests are drawn lazily and sent concurrently within the limits. Each response is on disk before
        it is yielded, and a request whose response is on disk already is not sent again. Closing the
        generator early cancels what has not been sent yet.

        Raises:
            EmbexpError: The key is refused, the budget is spent, or the service stays down. All responses
                so far are kept: the same command resumes from there.
        """

    def usage(self) -> Usage:
        """Return what this run's requests cost, without those answered from the journal.

        ``unanswered`` includes the lost requests of earlier runs for the same answers.
        """


class LLMSource(Protocol):
    """A configured language model, an option of ``conf/llm``; building one costs nothing and needs no key."""

    @property
    def model(self) -> str:
        """The model's name."""

    @property
    def chat(self) -> bool:
        """False for a base model that only completes text."""

    def check(self) -> None:
        """Raise a ConfigError where the key or the file that it needs is missing."""

    def fingerprint(self) -> str:
        """Return a digest of what shapes the answers: the model and its parameters, not limits or budget."""

    def estimate(self, *, requests: int, prompt_tokens: int, completion_tokens: int) -> Estimate:
        """Return the cost and time of ``requests`` requests, without sending any.

        Args:
            requests: The number of requests.
            prompt_tokens: The tokens of an average prompt.
            completion_tokens: The tokens of an average answer.
        """

    def open(self, journal: Path) -> AbstractContextManager[LLM]:
        """Connect; answers that the file ``journal`` holds are reused, new ones are appended to it.

        Raises:
            EmbexpError: The key is missing, the model cannot be loaded, or another process uses the journal.
        """
