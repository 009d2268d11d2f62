"""A model behind an address that speaks OpenAI's embeddings API: its vectors are asked for, not computed."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Interval

from embexp.errors import ConfigError, ModelError
from embexp.models.embeddings_client import EmbeddingsClient, Endpoint, tokens_of
from embexp.models.folder import TextLength
from embexp.models.spending import Price, Spending
from embexp.ranges import Count, NonNegative, Seconds, check_ranges
from embexp.services.connection import check_environment, service_address, usable_key
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

log = logging.getLogger(__name__)

_OWN_FIELDS = ("model", "input", "dimensions")


class EstimatedTokens:
    """Counts tokens without a tokenizer: UTF-8 bytes by four, about right for English.

    Args:
        limit: The number of tokens that a passage or a query may have.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.query_limit = limit

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return about how many tokens each text has."""
        return [tokens_of(text) for text in texts]

    def unknown(self, texts: Sequence[str]) -> list[bool]:
        """Return that the service's tokenizer knows all letters: nothing else is known of it."""
        return [False] * len(texts)


@dataclass(frozen=True, kw_only=True)
class OpenAICompatibleModel:
    """An embedding model at OpenAI, Azure, Ollama, vLLM, TEI, LM Studio, llama.cpp or another such service.

    It can be scored and searched with. It cannot be trained, since its weights are not at hand.

    Args:
        name: The model's name in tables and results.
        id: The model's name at the service.
        base_url: The address, as in ``http://localhost:11434/v1``; ``/v1`` is added where no path is given,
            an endpoint at its end is taken off, and parameters as ``?api-version=…`` go with every request.
        api_key_env: The environment variable that holds the key; None where none is needed.
        api_key_header: The header in which the key is sent; ``authorization`` sends it as a bearer token.
        dimensions: The length of the vectors, for models that offer several; None takes what comes.
        query_prompt: Text before every query.
        passage_prompt: Text before every passage.
        max_tokens: About how many tokens documents are cut to, where they are cut into passages.
        max_characters: The longest text that is sent, longer ones are cut; None cuts none.
        batch_size: The most texts of one request. Its vectors are on disk before the next is sent.
        extra_body: Further fields of every request, as the service documents them.
        query_body: Further fields of requests for queries, for services that tell both apart.
        passage_body: Further fields of requests for passages.
        requests_per_minute: The most requests in a minute; None learns it from the service.
        tokens_per_minute: The most tokens in a minute; None learns it.
        timeout_seconds: How long one request may take in all.
        max_attempts: How often the same request is sent before the run ends.
        backoff_seconds: The first pause after a failure; it doubles up to a minute.
        usd_per_million_tokens: The price, for ``embexp.plan`` and the budget; None where it is unknown.
        budget_usd: The most that this model's vectors in one cache may cost, earlier runs included; None for
            no limit.
    """

    name: str
    id: str
    base_url: str
    api_key_env: str | None = None
    api_key_header: str = "authorization"
    dimensions: Annotated[int, Interval(ge=1, le=1_000_000)] | None = None
    query_prompt: str = ""
    passage_prompt: str = ""
    max_tokens: TextLength = 512
    max_characters: Count | None = None
    batch_size: Annotated[int, Interval(ge=1, le=4096)] = 128
    extra_body: dict[str, Any] = field(default_factory=dict)
    query_body: dict[str, Any] = field(default_factory=dict)
    passage_body: dict[str, Any] = field(default_factory=dict)
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    timeout_seconds: Seconds = 120.0
    max_attempts: Annotated[int, Interval(ge=1, le=1_000)] = 8
    backoff_seconds: Annotated[float, Interval(gt=0, le=3_600)] = 1.0
    usd_per_million_tokens: NonNegative | None = None
    budget_usd: Annotated[float, Interval(gt=0, le=1_000_000)] | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "model")
        service_address(self.base_url, group="model")
        if self.budget_usd is not None and self.usd_per_million_tokens is None:
            raise ConfigError(
                f"model.budget_usd={self.budget_usd:g} cannot be kept: the price of {self.id} is not known. "
                "Give it in model.usd_per_million_tokens, or set model.budget_usd=null."
            )
        bodies = {
            "extra_body": self.extra_body,
            "query_body": self.query_body,
            "passage_body": self.passage_body,
        }
        for option, name in product(bodies, _OWN_FIELDS):
            if name in bodies[option]:
                key = "id" if name == "model" else name
                remedy = f"use model.{key}" if name != "input" else "take it out"
                raise ConfigError(
                    f"model.{option}.{name}: embexp sets this field of a request itself; {remedy}."
                )

    def fingerprint(self) -> str:
        """Return a digest of what shapes the vectors: address, model and texts, not limits or the key."""
        return sha256_of(
            "openai_compatible",
            self.id,
            tuple(service_address(self.base_url, group="model")),
            self.dimensions,
            self.query_prompt,
            self.passage_prompt,
            self.max_characters,
            self.extra_body,
            *((self.query_body, self.passage_body) if self.query_body or self.passage_body else ()),
        )

    def load(self) -> SentenceTransformer:
        """Refuse: the weights are behind the service.

        Raises:
            ModelError: Always.
        """
        raise ModelError(
            f"{self.name} is a model behind {self.base_url}, whose weights cannot be loaded: choose one with "
            "weights, such as model=minilm, for what trains a model or changes it."
        )

    def tokens(self) -> EstimatedTokens:
        """Return a counter that estimates: the service alone has the tokenizer."""
        return EstimatedTokens(max(1, self.max_tokens - tokens_of(self.passage_prompt)))

    def sent_text(self, role: Literal["query", "passage", "pair"], text: str) -> str:
        """Return what is sent for a text: its prompt before it, cut to ``max_characters``.

        Services refuse an empty text: a space is sent for it.
        """
        prompt = self.query_prompt if role == "query" else self.passage_prompt
        return f"{prompt}{text}"[: self.max_characters] or " "

    def fields(self, role: Literal["query", "passage", "pair"]) -> Mapping[str, Any]:
        """Return the further fields of a request for texts of this role."""
        return self.query_body if role == "query" else self.passage_body

    def check(self) -> None:
        """Check that the key is set, where one is named, and that connections can be made.

        Raises:
            ConfigError: It is not, or the environment's proxies or certificates are unusable.
        """
        self._key()
        check_environment()

    def connect(self, spending: Path | None = None) -> EmbeddingsClient:
        """Return a client of the service; nothing is sent yet.

        Args:
            spending: The file that records what requests cost; None for none.

        Raises:
            ConfigError: As ``check``.
        """
        self.check()
        return EmbeddingsClient(
            Endpoint(
                address=service_address(self.base_url, group="model"),
                model=self.id,
                dimensions=self.dimensions,
                extra_body=self.extra_body,
                key_name=self.api_key_env,
                key=self._key(),
                key_header=self.api_key_header,
                requests_per_minute=self.requests_per_minute,
                tokens_per_minute=self.tokens_per_minute,
                timeout_seconds=self.timeout_seconds,
                max_attempts=self.max_attempts,
                backoff_seconds=self.backoff_seconds,
            ),
            Spending(spending, Price(self.usd_per_million_tokens, self.budget_usd)),
        )

    def estimate(self, *, texts: int, tokens: int) -> list[str]:
        """Return requests, tokens, price and time as lines of text, without sending anything.

        Args:
            texts: The number of texts.
            tokens: About how many tokens they have in all.
        """
        requests = -(-texts // self.batch_size)
        price = "unknown (give it in model.usd_per_million_tokens)"
        if self.usd_per_million_tokens is not None:
            usd = tokens * self.usd_per_million_tokens / 1e6
            rate = f"{self.usd_per_million_tokens:g} US$ per million tokens"
            price = f"{usd:.4f} US$, at {rate} (model.usd_per_million_tokens)"
        minutes = max(
            (requests // self.requests_per_minute) if self.requests_per_minute else 0,
            (tokens // self.tokens_per_minute) if self.tokens_per_minute else 0,
        )
        limited = self.requests_per_minute or self.tokens_per_minute
        time = f"at least {minutes:,} min at the configured limits" if limited else "no limit is configured"
        return [
            f"requests: {requests:,} of up to {self.batch_size:,} texts",
            f"tokens: about {tokens:,}",
            f"price: {price}",
            f"time: {time}",
        ]

    def _key(self) -> str:
        if not self.api_key_env:
            return ""
        key = usable_key(self.api_key_env, group="model")
        if key is None:
            raise ConfigError(
                f"model.api_key_env={self.api_key_env}: this environment variable is not set. Run `export "
                f"{self.api_key_env}=…`, or set model.api_key_env=null where the service needs no key."
            )
        return key
