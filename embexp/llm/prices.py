"""Prices, the budget, and estimates: what a job costs in US dollars and how long it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

from embexp.errors import ConfigError

_MILLION = 1_000_000
_MINUTES_PER_DAY = 24 * 60


@cache
def _listed() -> dict[str, Any]:
    listed: dict[str, Any] = json.loads(
        files("embexp.llm").joinpath("prices.json").read_text(encoding="utf-8")
    )
    return listed


def batch_discount() -> float:
    """Return the share of the live price that a batch saves."""
    return float(_listed()["batch_discount"])


def free_limits(model: str) -> dict[str, int]:
    """Return a model's listed limits for accounts that do not pay, as ``requests_per_minute`` and so on."""
    return dict(_listed()["models"].get(model, {}).get("free", {}))


class Prices:
    """US dollars per million tokens by model.

    Args:
        own: ``{model: {"input": dollars, "output": dollars}}``; goes before the packaged list.
        discount: The share that is taken off, 0.5 for batches.

    Raises:
        ConfigError: A price is incomplete or negative.
    """

    def __init__(
        self, own: Mapping[str, Mapping[str, float]] | None = None, *, discount: float = 0.0
    ) -> None:
        self._own = own or {}
        self._factor = 1.0 - discount
        for model, price in self._own.items():
            if set(price) != {"input", "output"} or min(price.values()) < 0:
                raise ConfigError(
                    f"llm.prices.{model}={dict(price)}: give two prices in US$ per million tokens, as in "
                    "{input: 0.15, output: 0.60}."
                )

    def of(self, model: str) -> tuple[float, float] | None:
        """Return a model's prices for input and output, None where they are unknown."""
        price = self._own.get(model) or _listed()["models"].get(model) or {}
        if price.get("input") is None or price.get("output") is None:
            return None
        return float(price["input"]) * self._factor, float(price["output"]) * self._factor

    def origin(self, model: str) -> str:
        """Return where a model's prices come from; listed ones with the date on which they were checked."""
        if model in self._own:
            return "of llm.prices"
        return f"seen on {_listed()['models'].get(model, {}).get('as_of', 'an unknown date')}"

    def cost(self, model: str, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the price of some tokens in US dollars, 0 where it is unknown."""
        price = self.of(model)
        if price is None:
            return 0.0
        return (prompt_tokens * price[0] + completion_tokens * price[1]) / _MILLION

    def check_budget(self, models: list[str], budget_usd: float | None) -> None:
        """Check that a budget can be enforced for these models.

        Raises:
            ConfigError: A model's price is unknown.
        """
        unknown = [model for model in models if self.of(model) is None]
        if budget_usd is not None and unknown:
            raise ConfigError(
                f"llm.budget_usd={budget_usd} cannot be kept: the price of {unknown[0]} is not known. "
                f"Give it, as in 'llm.prices={{{unknown[0]}: {{input: 0.15, output: 0.60}}}}' (US$ per "
                "million tokens), or set llm.budget_usd=null."
            )


class Budget:
    """A limit in US dollars; requests in flight count at the most that they can cost.

    Args:
        limit: The most to spend, None for no limit.
        spent: What the journal's earlier answers cost.
    """

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        self.limit = limit
        self.spent = spent
        self.in_flight = 0.0

    def fits(self, cost: float) -> bool:
        """Whether a request that costs at most ``cost`` may be sent."""
        return self.limit is None or self.spent + self.in_flight + cost <= self.limit


@dataclass(frozen=True)
class Estimate:
    """The cost and time of a job before it begins; a price or time that is unknown is None.

    ``bound`` names the limit that decides the time. ``usd_batch`` is None, too, for a service without
    batches; ``price_origin`` is empty for a model that costs nothing. Token counts are approximate: UTF-8
    bytes by four.
    """

    model: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    usd_batch: float | None
    minutes: float | None
    bound: str | None
    price_origin: str

    def lines(self) -> list[str]:
        """Return the estimate as lines of text."""
        price = "unknown (give it in llm.prices)"
        if self.usd is not None:
            batch = "" if self.usd_batch is None else f" live, {self.usd_batch:.2f} US$ as a batch"
            origin = f", at prices {self.price_origin}" if self.price_origin else ""
            price = f"{self.usd:.2f} US${batch}{origin}"
        time = "unknown: no limit is configured or listed"
        if self.minutes is not None and self.bound is not None:
            time = f"at least {_span(self.minutes)}, bound by {self.bound.replace('_', ' ')}"
        return [
            f"model: {self.model}",
            f"requests: {self.requests:,}",
            f"tokens: about {self.prompt_tokens:,} in and {self.completion_tokens:,} out",
            f"price: {price}",
            f"time: {time}",
        ]


def estimate(
    *,
    model: str,
    requests: int,
    prompt_tokens: int,
    completion_tokens: int,
    prices: Prices,
    limits: Mapping[str, int | None],
    batches: bool = False,
) -> Estimate:
    """Return the estimate for ``requests`` requests of the same size.

    Args:
        model: The model's name.
        requests: The number of requests.
        prompt_tokens: The tokens of one prompt.
        completion_tokens: The tokens of one answer.
        prices: The price list.
        limits: ``requests_per_minute``, ``tokens_per_minute``, ``requests_per_day`` and
            ``tokens_per_day``, None where there is none.
        batches: Whether the service has batches at a discount.
    """
    total_in, total_out = requests * prompt_tokens, requests * completion_tokens
    usd = prices.cost(model, total_in, total_out) if prices.of(model) else None
    minutes = {
        name: _minutes(name, requests if name.startswith("requests") else total_in + total_out, limit)
        for name, limit in limits.items()
        if limit
    }
    bound = max(minutes, key=lambda name: minutes[name], default=None)
    return Estimate(
        model=model,
        requests=requests,
        prompt_tokens=total_in,
        completion_tokens=total_out,
        usd=usd,
        usd_batch=None if usd is None or not batches else usd * (1.0 - batch_discount()),
        minutes=minutes[bound] if bound else None,
        bound=bound,
        price_origin=prices.origin(model),
    )


def free_estimate(model: str, *, requests: int, prompt_tokens: int, completion_tokens: int) -> Estimate:
    """Return the estimate for a model that costs nothing and has no limits; its time is unknown."""
    free = estimate(
        model=model,
        requests=requests,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        prices=Prices({model: {"input": 0.0, "output": 0.0}}),
        limits={},
    )
    return replace(free, price_origin="")


def _minutes(name: str, units: int, limit: int) -> float:
    """Return the minutes that a limit imposes; its first minute or day is available at once."""
    span = _MINUTES_PER_DAY if name.endswith("day") else 1.0
    return max(-(-units // limit) - 1, 0) * span


def _span(minutes: float) -> str:
    if minutes < 120:
        return f"{max(minutes, 1):,.0f} min"
    return f"{minutes / 60:,.1f} h" if minutes < 2 * 24 * 60 else f"{minutes / 60 / 24:,.1f} days"
