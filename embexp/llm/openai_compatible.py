"""Any service with OpenAI's protocol: vLLM, Ollama, llama.cpp's server, LM Studio, and hosted ones."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embexp.errors import ConfigError
from embexp.llm.chat import Chat, Reply
from embexp.llm.engine import Engine
from embexp.llm.journal import Journal
from embexp.llm.llm import Request
from embexp.llm.settings import ServiceSettings
from embexp.services.connection import (
    Address,
    check_environment,
    connection_error,
    service_address,
    usable_key,
)
from embexp.services.request_errors import RetryableError, request_error
from embexp.storage.files import sha256_of

_STILL_ANSWERED = 409
"""What services answer to an idempotency key whose first request they still work on."""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class _OpenAIClient:
    """Sends requests with httpx.

    Args:
        chat: Request bodies, replies and fallbacks.
        address: Where the service is.
        key_name: The environment variable of the key, None where the service needs none.
        key_header: The header in which the key is sent.
        idempotency_header: The header by which the service knows a repeated request, None where it has none.
    """

    def __init__(
        self,
        chat: Chat,
        *,
        address: Address,
        key_name: str | None,
        key_header: str,
        idempotency_header: str | None,
    ) -> None:
        import httpx

        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._chat = chat
        self._url = address.url
        self._key_name = key_name
        self._key = _key(key_name)
        self._idempotency_header = idempotency_header
        bearer = key_header.lower() == "authorization"
        headers = {key_header: f"Bearer {self._key}" if bearer else self._key} if self._key else {}
        self._http = httpx.AsyncClient(
            base_url=address.url, headers=headers, params=dict(address.parameters), timeout=None
        )

    @property
    def model(self) -> str:
        """The model in use."""
        return self._chat.model

    @property
    def knows_repeats(self) -> bool:
        """Whether the user named a header for it."""
        return self._idempotency_header is not None

    async def send(self, request: Request, sent_id: str) -> Reply:
        """Send one request; see ``embexp.llm.chat.Client``."""
        return await self._chat.send(request, lambda body: self._post(body, sent_id))

    async def _post(self, body: dict[str, Any], sent_id: str) -> tuple[object, Mapping[str, str]]:
        path = "completions" if self._chat.completes else "chat/completions"
        headers = {}
        if self._idempotency_header is not None:
            # Services refuse a key that comes with another body, as after a parameter was corrected.
            headers[self._idempotency_header] = sha256_of(sent_id, body)[:32]
        return await self._post_to(path, body, headers)

    async def _post_to(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str]
    ) -> tuple[object, Mapping[str, str]]:
        import httpx

        try:
            response = await self._http.post(path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise connection_error(error, self._url) from error
        try:
            payload: object = json.loads(response.content)
        except ValueError as error:
            if response.status_code < 300:
                raise RetryableError(
                    f"the answer cannot be read ({type(error).__name__})", charged=True
                ) from error
            payload = response.text
        if response.status_code == _STILL_ANSWERED and headers:
            raise RetryableError("the same request is still being answered", kind="overload", charged=None)
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
        idempotency_header: The header by which the service knows a repeated request, such as
            ``Idempotency-Key``: a request whose answer was lost is then not charged twice. None where the
            service has none.
        completes: True for a base model that only completes text.
    """

    base_url: str = field()
    api_key_env: str | None = None
    api_key_header: str = "authorization"
    idempotency_header: str | None = None
    completes: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        service_address(self.base_url)
        if self.idempotency_header is not None and not _HEADER.fullmatch(self.idempotency_header):
            raise ConfigError(
                f"llm.idempotency_header={self.idempotency_header!r} is no name of a header: give one such "
                "as Idempotency-Key, or null where the service has none."
            )

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
            idempotency_header=self.idempotency_header,
        )
        answers = Journal(journal, self.identity())
        with Engine(client, answers, self, self.price_list(), chat=self.chat) as engine:
            yield engine
