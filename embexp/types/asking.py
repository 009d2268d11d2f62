"""What is asked of a language model, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
