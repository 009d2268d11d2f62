"""Any service with OpenAI's protocol: vLLM, Ollama, llama.cpp's server, LM Studio, and hosted ones."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from embexp.errors import ConfigError
from embexp.llm.chat import Chat, Reply
from embexp.llm.engine import Engine
from embexp.llm.journal import Journal
from embexp.llm.llm import Request
from embexp.llm.request_errors import RetryableError, request_error
from embexp.llm.settings import ServiceSettings


class _OpenAIClient:
    """Sends requests with httpx.

    Args:
        chat: Request bodies, replies and fallbacks.
        base_url: The address up to ``/v1``.
        key_name: The environment variable of the key, None where the service needs none.
    """

    def __init__(self, chat: Chat, *, base_url: str, key_name: str | None) -> None:
        import httpx

        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._chat = chat
        self._key_name = key_name or "llm.api_key_env"
        self._key = _key(key_name)
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=None)

    @property
    def model(self) -> str:
        """The model in use."""
        return self._chat.model

    async def send(self, request: Request) -> Reply:
        """Send one request; see ``embexp.llm.chat.Client``."""
        return await self._chat.send(request, self._post)

    async def _post(self, body: dict[str, Any]) -> tuple[object, Mapping[str, str]]:
        return await self._post_to("completions" if self._chat.completes else "chat/completions", body)

    async def _post_to(self, path: str, body: dict[str, Any]) -> tuple[object, Mapping[str, str]]:
        import httpx

        try:
            response = await self._http.post(path, json=body)
        except httpx.HTTPError as error:
            raise RetryableError(f"no connection ({type(error).__name__})") from error
        try:
            payload: object = json.loads(response.content)
        except ValueError as error:
            if response.status_code < 400:
                raise RetryableError(f"the answer cannot be read ({type(error).__name__})") from error
            payload = response.text
        if response.status_code >= 400:
            raise request_error(
                response.status_code, payload, response.headers, key_name=self._key_name, secret=self._key
            )
        return payload, response.headers

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _key(variable: str | None) -> str:
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not key:
        raise ConfigError(
            f"llm.api_key_env={variable}: this environment variable is not set. Run `export {variable}=…`, "
            "or set llm.api_key_env=null where the service needs no key."
        )
    return key


@dataclass(frozen=True, kw_only=True)
class OpenAICompatibleLLM(ServiceSettings):
    """A model behind an address with OpenAI's protocol.

    Args:
        base_url: The address, as in ``http://localhost:8000/v1``; ``/v1`` is added where no path is given.
        api_key_env: The environment variable that holds the key; None where none is needed.
        completes: True for a base model that only completes text.
    """

    base_url: str = field()
    api_key_env: str | None = None
    completes: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if urlsplit(self.base_url).scheme not in ("http", "https"):
            raise ConfigError(
                f"llm.base_url={self.base_url}: give an address with http:// or https://, as in "
                "http://localhost:8000/v1."
            )

    @property
    def chat(self) -> bool:
        """Whether the model chats."""
        return not self.completes

    def check(self) -> None:
        """Check that the key is set, where one is named.

        Raises:
            ConfigError: It is not.
        """
        _key(self.api_key_env)

    @contextmanager
    def open(self, journal: Path) -> Iterator[Engine]:
        """Connect; answers are read from and appended to ``journal``.

        Raises:
            ConfigError: A key is named and not set.
            EmbexpError: Another process uses the journal.
        """
        effort = {"reasoning_effort": self.reasoning_effort} if self.reasoning_effort else {}
        chat = Chat(
            self.models(), options=lambda _model: effort, length_key="max_tokens", completes=self.completes
        )
        url = self.base_url if urlsplit(self.base_url).path.strip("/") else f"{self.base_url.rstrip('/')}/v1"
        client = _OpenAIClient(chat, base_url=url, key_name=self.api_key_env)
        identity = {"model": self.model, "reasoning_effort": self.reasoning_effort, "chat": self.chat}
        with Engine(client, Journal(journal, identity), self, self.price_list(), chat=self.chat) as engine:
            yield engine
