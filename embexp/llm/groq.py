"""Groq through its official SDK; rate limits, retries and the journal are our own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from embexp.errors import ConfigError
from embexp.llm.chat import Chat, Reply
from embexp.llm.engine import Engine
from embexp.llm.journal import Journal
from embexp.llm.llm import Request
from embexp.llm.settings import ServiceSettings
from embexp.services.connection import check_environment, connection_error, service_address, usable_key
from embexp.services.request_errors import RetryableError, request_error

if TYPE_CHECKING:
    from groq import AsyncGroq, Groq

_REASONING = "openai/gpt-oss"
_NOT_REASONING = ("llama", "meta-llama/", "gemma", "allam")
_DEFAULT_EFFORT = "low"
_GROQ = "https://api.groq.com"
_SDK_PATH = "/openai/v1"
_KEYS = "https://console.groq.com/keys"


def groq_key(variable: str) -> str:
    """Return the key from an environment variable.

    Raises:
        ConfigError: The variable is not set.
    """
    if not variable.isidentifier() or variable.startswith("gsk_"):
        raise ConfigError(
            "llm.api_key_env names the environment variable that holds the key; what is given is no name (if "
            "it is the key itself, keep it out of command lines): run `export GROQ_API_KEY=…` and leave "
            "llm.api_key_env out."
        )
    key = usable_key(variable)
    if key is None:
        raise ConfigError(
            f"llm.api_key_env={variable}: this environment variable is not set. Get a key at {_KEYS} and run "
            f"`export {variable}=…`, or choose llm=llamacpp, which needs none."
        )
    return key


def _host(base_url: str | None) -> str | None:
    """Return the host to which the SDK appends its own path; None is Groq itself."""
    host = base_url or os.environ.get("GROQ_BASE_URL") or None
    return host.rstrip("/").removesuffix(_SDK_PATH) if host else None


def _quiet() -> None:
    """Silence the SDK's log line for each request: there are thousands."""
    for name in ("groq", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _connect(base_url: str | None, key: str) -> AsyncGroq:
    """Return an SDK client that neither retries nor waits by itself.

    Args:
        base_url: The host; None for ``GROQ_BASE_URL`` or Groq itself.
        key: The key.
    """
    from groq import AsyncGroq

    _quiet()
    # Time-outs are the engine's: it counts the whole request, the SDK only each read.
    return AsyncGroq(api_key=key, base_url=_host(base_url), max_retries=0, timeout=None)


def connect_for_batches(base_url: str | None, key: str, timeout: float) -> Groq:
    """Return a blocking SDK client for files and batches.

    Args:
        base_url: The host; None for ``GROQ_BASE_URL`` or Groq itself.
        key: The key.
        timeout: Seconds that each read may take.
    """
    from groq import Groq

    _quiet()
    return Groq(api_key=key, base_url=_host(base_url), max_retries=0, timeout=timeout)


def sdk_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that the SDK raises when a call fails or a body is unreadable."""
    import groq

    return (groq.APIError, ValueError)


def groq_error(error: Exception, *, key_name: str, key: str, base_url: str | None) -> Exception:
    """Return our exception for an exception of the SDK."""
    import groq

    if isinstance(error, groq.APIStatusError):
        body = error.body if error.body is not None else error.response.text
        return request_error(error.status_code, body, error.response.headers, key_name=key_name, secret=key)
    if isinstance(error, groq.APITimeoutError):
        return RetryableError("the connection timed out", kind="overload", charged=None)
    if isinstance(error, groq.APIConnectionError):
        return connection_error(error.__cause__ or error, _host(base_url) or _GROQ)
    # A body that is not JSON or not UTF-8 surfaces as a ValueError of some kind.
    return RetryableError(f"the answer cannot be read ({type(error).__name__})", charged=True)


class _GroqClient:
    """Sends requests through the SDK.

    Args:
        chat: Request bodies, replies and fallbacks.
        base_url: The host, or None.
        key_name: The environment variable of the key.
    """

    def __init__(self, chat: Chat, *, base_url: str | None, key_name: str) -> None:
        self._chat = chat
        self._base_url = base_url
        self._key_name = key_name
        self._key = groq_key(key_name)
        self._sdk = _connect(base_url, self._key)

    @property
    def model(self) -> str:
        """The model in use."""
        return self._chat.model

    @property
    def knows_repeats(self) -> bool:
        """Groq has no idempotency keys."""
        return False

    async def send(self, request: Request, sent_id: str) -> Reply:  # noqa: ARG002 - one signature for all
        """Send one request; see ``embexp.llm.chat.Client``."""
        return await self._chat.send(request, self._post)

    async def _post(self, body: dict[str, Any]) -> tuple[object, Mapping[str, str]]:
        extra = {name: body[name] for name in self._chat.extra_body if name in body}
        known = {name: value for name, value in body.items() if name not in extra}
        create = self._sdk.chat.completions.with_raw_response.create
        try:
            raw = await create(**known, extra_body=extra or None)
            payload = await raw.parse()
        except sdk_errors() as error:
            raise groq_error(
                error, key_name=self._key_name, key=self._key, base_url=self._base_url
            ) from error
        return (payload if isinstance(payload, str) else payload.to_dict()), raw.headers

    async def close(self) -> None:
        """Close the connections."""
        await self._sdk.close()


def _fallbacks() -> list[str]:
    return ["openai/gpt-oss-120b"]


@dataclass(frozen=True, kw_only=True)
class GroqLLM(ServiceSettings):
    """A model at Groq.

    Args:
        model: The model's name at Groq.
        fallback_models: The models to use instead, in this order, once Groq no longer serves it.
        reasoning_effort: How long the model thinks: low, medium or high for gpt-oss, none or default for
            Qwen. The default is meant for gpt-oss and sent to no other model.
        base_url: The host, without a path; None for ``GROQ_BASE_URL`` or Groq itself.
        api_key_env: The environment variable that holds the key.
    """

    model: str = "llama-3.3-70b-versatile"
    fallback_models: list[str] = field(default_factory=_fallbacks)
    reasoning_effort: str | None = _DEFAULT_EFFORT
    base_url: str | None = None
    api_key_env: str = "GROQ_API_KEY"
    has_batches: ClassVar[bool] = True

    def check(self) -> None:
        """Check that the key is set, and that connections can be made.

        Raises:
            ConfigError: It is not, or the environment's proxies or certificates are unusable.
        """
        groq_key(self.api_key_env)
        if host := _host(self.base_url):
            service_address(host)
        check_environment()

    def chat_protocol(self) -> Chat:
        """Return the request bodies, replies and fallbacks of this model."""
        return Chat(
            self.models(),
            options=self.request_options,
            length_key="max_completion_tokens",
            extra_body=self.extra_body,
        )

    def identity(self) -> dict[str, object]:
        """Return what identifies this model in the journal."""
        return self.extended({"model": self.model, "reasoning_effort": self.reasoning_effort})

    def request_options(self, model: str) -> dict[str, Any]:
        """Return the fields of a request to ``model`` that the settings ask for."""
        effort = self.reasoning_effort
        thinks = not model.startswith(_NOT_REASONING)
        meant = effort != _DEFAULT_EFFORT or model.startswith(_REASONING)
        return {"reasoning_effort": effort} if effort and thinks and meant else {}

    @contextmanager
    def open(self, journal: Path) -> Iterator[Engine]:
        """Connect; answers are read from and appended to ``journal``.

        Raises:
            ConfigError: There is no key.
            EmbexpError: Another process uses the journal.
        """
        self.check()
        client = _GroqClient(self.chat_protocol(), base_url=self.base_url, key_name=self.api_key_env)
        with Engine(client, Journal(journal, self.identity()), self, self.price_list()) as engine:
            yield engine
