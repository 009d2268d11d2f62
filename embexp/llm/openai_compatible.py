"""Any service with OpenAI's protocol: vLLM, Ollama, llama.cpp's server, LM Studio, and hosted ones."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embexp.errors import ConfigError
from embexp.llm.chat import Chat, Reply
from embexp.llm.connection import (
    Address,
    check_environment,
    connection_error,
    service_address,
    usable_key,
)
from embexp.llm.engine import Engine
from embexp.llm.journal import Journal
from embexp.llm.llm import Request
from embexp.llm.request_errors import RetryableError, request_error
from embexp.llm.settings import ServiceSettings


class _OpenAIClient:
    """Sends requests with httpx.

    Args:
        chat: Request bodies, replies and fallbacks.
        address: Where the service is.
        key_name: The environment variable of the key, None where the service needs none.
        key_header: The header in which the key is sent.
    """

    def __init__(self, chat: Chat, *, address: Address, key_name: str | None, key_header: str) -> None:
        import httpx

        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._chat = chat
        self._url = address.url
        self._key_name = key_name
        self._key = _key(key_name)
        bearer = key_header.lower() == "authorization"
        headers = {key_header: f"Bearer {self._key}" if bearer else self._key} if self._key else {}
        self._http = httpx.AsyncClient(
            base_url=address.url, headers=headers, params=dict(address.parameters), timeout=None
        )

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
            raise connection_error(error, self._url) from error
        try:
            payload: object = json.loads(response.content)
        except ValueError as error:
            if response.status_code < 300:
                raise RetryableError(f"the answer cannot be read ({type(error).__name__})") from error
            payload = response.text
        if response.status_code >= 300:
            raise request_error(
                response.status_code, payload, response.headers, key_name=self._key_name, secret=self._key
            )
        return payload, response.headers

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _key(variable: str | None) -> str:
    if not variable:
        return ""
    key = usable_key(variable)
    if key is None:
        raise ConfigError(
            f"llm.api_key_env={variable}: this environment variable is not set. Run `export {variable}=…`, "
            "or set llm.api_key_env=null where the service needs no key."
        )
    return key


@dataclass(frozen=True, kw_only=True)
class OpenAICompatibleLLM(ServiceSettings):
    """A model behind an address with OpenAI's protocol.

    Args:
        base_url: The address, as in ``http://localhost:8000/v1``; ``/v1`` is added where no path is given, an
            endpoint at its end is taken off, and parameters as ``?api-version=…`` go with every request.
        api_key_env: The environment variable that holds the key; None where none is needed.
        api_key_header: The header in which the key is sent; ``authorization`` sends it as a bearer token.
        completes: True for a base model that only completes text.
    """

    base_url: str = field()
    api_key_env: str | None = None
    api_key_header: str = "authorization"
    completes: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        service_address(self.base_url)

    @property
    def chat(self) -> bool:
        """Whether the model chats."""
        return not self.completes

    def check(self) -> None:
        """Check that the key is set, where one is named, and that connections can be made.

        Raises:
            ConfigError: It is not, or the environment's proxies or certificates are unusable.
        """
        _key(self.api_key_env)
        check_environment()

    def chat_protocol(self) -> Chat:
        """Return the request bodies, replies and fallbacks of this model."""
        return Chat(
            self.models(),
            options=self.request_options,
            length_key="max_tokens",
            completes=self.completes,
            extra_body=self.extra_body,
        )

    def request_options(self, _model: str) -> dict[str, Any]:
        """Return the fields of a request to this model that the settings ask for."""
        return {"reasoning_effort": self.reasoning_effort} if self.reasoning_effort else {}

    def identity(self) -> dict[str, object]:
        """Return what identifies this model in the journal: all settings that shape an answer."""
        return self.extended(
            {"model": self.model, "reasoning_effort": self.reasoning_effort, "chat": self.chat}
        )

    @contextmanager
    def open(self, journal: Path) -> Iterator[Engine]:
        """Connect; answers are read from and appended to ``journal``.

        Raises:
            ConfigError: A key is named and not set.
            EmbexpError: Another process uses the journal.
        """
        self.check()
        client = _OpenAIClient(
            self.chat_protocol(),
            address=service_address(self.base_url),
            key_name=self.api_key_env,
            key_header=self.api_key_header,
        )
        answers = Journal(journal, self.identity())
        with Engine(client, answers, self, self.price_list(), chat=self.chat) as engine:
            yield engine
