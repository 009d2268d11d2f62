"""Fixtures of the tests of language models: a key, requests, and a fast source at the loopback server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from embexp.llm.groq import GroqLLM
from embexp.llm.llm import Message, Request
from tests.llm.chat_server import ChatServer, serving
from tests.llm.groq_server import KEY, GroqServer, running

SCHEMA = {
    "type": "object",
    "properties": {"queries": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}}},
}
Requests = Callable[..., list[Request]]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    monkeypatch.delenv("GROQ_BASE_URL", raising=False)


@pytest.fixture
def requests() -> Requests:
    def make(count: int, **fields: Any) -> list[Request]:
        fields = {"max_tokens": 50, "schema": SCHEMA, **fields}
        return [Request((Message("user", f"Write query {number}."),), **fields) for number in range(count)]

    return make


@pytest.fixture
def serve() -> Iterator[Callable[..., GroqServer]]:
    """Start a server with the given settings; all of them end with the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(running(**settings))


@pytest.fixture
def groq() -> Callable[..., GroqLLM]:
    def make(server: GroqServer, **settings: Any) -> GroqLLM:
        return GroqLLM(
            **{"base_url": server.url, "timeout_seconds": 5.0, "backoff_seconds": 0.01, **settings}
        )

    return make


@pytest.fixture
def chat_service() -> Iterator[Callable[..., ChatServer]]:
    """Start a service whose answers the test decides; all of them end with the test."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda reply, **settings: stack.enter_context(serving(reply, **settings))
