"""The settings that language models share: rate limits, retries, time-outs, prices and the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from annotated_types import Interval

from embexp.errors import ConfigError
from embexp.llm.prices import Estimate, Prices, estimate, free_limits
from embexp.ranges import Count, NonNegative, Seconds, check_ranges
from embexp.storage.files import sha256_of

_OWN_FIELDS = ("model", "messages", "prompt", "stream", "n", "response_format")
_LIMITS = ("requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day")


@dataclass(frozen=True, kw_only=True)
class RequestSettings:
    """How requests are sent.

    Args:
        requests_per_minute: The most requests in a minute; None learns it from the service.
        tokens_per_minute: The most tokens in a minute, prompt and answer together; None learns it.
        requests_per_day: The most requests in a day.
        tokens_per_day: The most tokens in a day.
        max_concurrency: The most requests in flight at once.
        timeout_seconds: How long one request may take in all.
        max_attempts: How often one request is sent before it is given up; rate limits do not count.
        give_up_after: The failures in a row, each sent after the one before, that end the run.
        backoff_seconds: The first pause after failures; it doubles up to a minute.
        budget_usd: The most that one journal may cost, earlier runs included; None for no limit.
    """

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    requests_per_day: Count | None = None
    tokens_per_day: Count | None = None
    max_concurrency: Annotated[int, Interval(ge=1, le=10_000)] = 64
    timeout_seconds: Seconds = 120.0
    max_attempts: Annotated[int, Interval(ge=1, le=1_000)] = 8
    give_up_after: Annotated[int, Interval(ge=1, le=1_000_000)] = 10
    backoff_seconds: Annotated[float, Interval(gt=0, le=3_600)] = 1.0
    budget_usd: Annotated[float, Interval(gt=0, le=1_000_000)] | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "llm")


@dataclass(frozen=True, kw_only=True)
class ServiceSettings(RequestSettings):
    """The settings of a model behind an address; each service adds its own.

    Args:
        model: The model's name at the service.
        fallback_models: The models to use instead, in this order, once the service no longer serves it.
        reasoning_effort: How long the model thinks, in the words of its service ("low", "none").
        extra_body: Further fields of every request, as the service documents them, such as
            ``{chat_template_kwargs: {enable_thinking: false}}``.
        base_url: The service's address.
        prices: Prices that go before the packaged list, ``{model: {input: …, output: …}}`` in US$ per
            million tokens.
    """

    model: str
    fallback_models: list[str] = field(default_factory=list)
    reasoning_effort: str | None = None
    extra_body: dict[str, Any] = field(default_factory=dict)
    base_url: str | None = None
    prices: dict[str, dict[str, NonNegative]] = field(default_factory=dict)
    has_batches: ClassVar[bool] = False
    """Whether the service answers batches at a discount, whose price a plan then names, too."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _OWN_FIELDS:
            if name in self.extra_body:
                raise ConfigError(
                    f"llm.extra_body.{name}: embexp sets this field of a request itself; take it out."
                )
        self.price_list().check_budget(self.models(), self.budget_usd)

    @property
    def chat(self) -> bool:
        """Whether the model chats."""
        return True

    def models(self) -> list[str]:
        """Return the model and then its fallbacks, each once."""
        return list(dict.fromkeys([self.model, *self.fallback_models]))

    def price_list(self, *, discount: float = 0.0) -> Prices:
        """Return the prices, less a discount."""
        return Prices(self.prices, discount=discount)

    def fingerprint(self) -> str:
        """Return a digest of what shapes the answers; limits, retries and the budget do not."""
        names = ("model", "fallback_models", "reasoning_effort", "base_url")
        shaping = {name: getattr(self, name) for name in names}
        return sha256_of(type(self).__name__, self.extended(shaping))

    def extended(self, identity: Mapping[str, object]) -> dict[str, object]:
        """Return an identity with ``extra_body``, where there is one: older journals know no such field."""
        return {**identity, **({"extra_body": dict(self.extra_body)} if self.extra_body else {})}

    def estimate(self, *, requests: int, prompt_tokens: int, completion_tokens: int) -> Estimate:
        """Return cost and time at the configured limits, else at the listed ones.

        Args:
            requests: The number of requests.
            prompt_tokens: The tokens of an average prompt.
            completion_tokens: The tokens of an average answer.
        """
        listed = free_limits(self.model)
        return estimate(
            model=self.model,
            requests=requests,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            prices=self.price_list(),
            limits={name: getattr(self, name) or listed.get(name) for name in _LIMITS},
            batches=self.has_batches,
        )
