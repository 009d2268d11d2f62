"""The settings that all services share: limits, patience, money."""

from __future__ import annotations

from dataclasses import dataclass, field

from embexp.errors import ConfigError
from embexp.llm.engine import EngineSettings
from embexp.llm.estimate import Estimate, estimate
from embexp.llm.prices import Prices, free_limits
from embexp.llm.rate_limiter import PaceSettings
from embexp.storage.files import sha256_of


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Fields of a service's configuration; each service adds its own.

    Args:
        model: The model to ask.
        fallback_models: What to use instead when it is gone.
        requests_per_minute: The most requests in a minute; None learns it from the service.
        tokens_per_minute: The most tokens in a minute; None learns it.
        requests_per_day: The most requests in a day that this run may send.
        tokens_per_day: The most tokens in a day that this run may use.
        max_concurrency: The most requests under way at once.
        timeout_seconds: How long one request may take.
        max_attempts: How often one request is sent; rate limits do not count.
        give_up_after: The failures in a row that end the run.
        backoff_seconds: The first pause after failures.
        budget_usd: The most that one journal may cost; None for no limit.
        prices: Prices that go before the listed ones, ``{model: {input: …, output: …}}`` in US$ per
            million tokens.
    """

    model: str
    fallback_models: list[str] = field(default_factory=list)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_day: int | None = None
    max_concurrency: int = 64
    timeout_seconds: float = 120.0
    max_attempts: int = 8
    give_up_after: int = 10
    backoff_seconds: float = 1.0
    budget_usd: float | None = None
    prices: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.timeout_seconds <= 0:
            raise ConfigError(f"llm.timeout_seconds={self.timeout_seconds}: give seconds above 0.")
        if self.max_attempts < 1:
            raise ConfigError(f"llm.max_attempts={self.max_attempts}: give a whole number from 1 up.")
        self.engine_settings()
        self.price_list().needed(self.models(), self.budget_usd)

    @property
    def chat(self) -> bool:
        """Whether the model chats; a base model only completes text."""
        return not getattr(self, "completes", False)

    def models(self) -> list[str]:
        """Return the model and then its fallbacks, each once."""
        return list(dict.fromkeys([self.model, *self.fallback_models]))

    def engine_settings(self) -> EngineSettings:
        """Return what the engine needs of these settings."""
        pace = PaceSettings(
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            requests_per_day=self.requests_per_day,
            tokens_per_day=self.tokens_per_day,
            max_concurrency=self.max_concurrency,
            give_up_after=self.give_up_after,
            backoff_seconds=self.backoff_seconds,
        )
        return EngineSettings(
            pace=pace,
            timeout_seconds=self.timeout_seconds,
            max_attempts=self.max_attempts,
            budget_usd=self.budget_usd,
        )

    def price_list(self, *, discount: float = 0.0) -> Prices:
        """Return the prices that hold, less a discount."""
        return Prices(self.prices, discount=discount)

    def fingerprint(self) -> str:
        """Return a digest of what shapes the answers; limits, patience and money do not."""
        shaping = {
            name: getattr(self, name, None)
            for name in ("model", "fallback_models", "reasoning_effort", "base_url")
        }
        return sha256_of(type(self).__name__, shaping)

    def estimate(self, *, requests: int, prompt_tokens: int, completion_tokens: int) -> Estimate:
        """Return what asking would take at the configured limits, else at the listed ones.

        Args:
            requests: How many requests there will be.
            prompt_tokens: The tokens of an average prompt.
            completion_tokens: The tokens of an average answer.
        """
        names = ("requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day")
        limits = {name: getattr(self, name) or free_limits(self.model).get(name) for name in names}
        return estimate(
            model=self.model,
            requests=requests,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            prices=self.price_list(),
            limits=limits,
        )
