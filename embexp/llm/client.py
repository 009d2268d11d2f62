"""What the engine needs of a service: one request sent, one reply or one fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from embexp.types import Request

BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Reply:
    """An answer as it came: its text, who wrote it, the tokens it took, and the response's headers."""

    text: str
    model: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    headers: Mapping[str, str] = field(default_factory=dict)


class Client(Protocol):
    """A service or a model in this process."""

    @property
    def model(self) -> str:
        """The model that the next request goes to; it changes when a model is gone."""

    async def send(self, request: Request) -> Reply:
        """Send one request once.

        Raises:
            Fault: There is no answer; its class says what to do.
            EmbexpError: No request can succeed: the key is refused, the address is wrong.
        """

    async def close(self) -> None:
        """Let go of connections and memory."""


def approximate_tokens(text: str) -> int:
    """Return about how many tokens a text has: its UTF-8 bytes by four, rounded up.

    English has about four letters to a token; scripts with three bytes to a letter have about one
    token to a letter or a little more.
    """
    return -(-len(text.encode("utf-8", errors="replace")) // BYTES_PER_TOKEN)


def prompt_tokens(request: Request) -> int:
    """Return about how many tokens a request's prompt has, its schema and each turn's frame included."""
    import json

    schema = approximate_tokens(json.dumps(request.schema)) if request.schema else 0
    return schema + sum(approximate_tokens(message.content) + 4 for message in request.messages)
