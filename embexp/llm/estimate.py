"""What a job will take before it is begun: requests, tokens, price live and as a batch, and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from embexp.llm.prices import Prices, batch_discount
from embexp.llm.service_limits import DAY


@dataclass(frozen=True)
class Estimate:
    """The plan of a job; a price or time that is not known is None.

    ``bound`` names the limit that decides the time. Token counts are approximations: UTF-8 bytes by four.
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
        """Return the plan as sentences for a person."""
        price = "price unknown (give it in llm.prices)"
        if self.usd is not None and self.usd_batch is not None:
            price = f"{self.usd:.2f} US$ live, {self.usd_batch:.2f} US$ as a batch, at prices "
            price += self.price_origin
        time = "time unknown: no limit is configured or listed"
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
) -> Estimate:
    """Return the plan of ``requests`` requests of the same size.

    Args:
        model: The model to ask.
        requests: How many requests there will be.
        prompt_tokens: The tokens of one prompt.
        completion_tokens: The tokens of one answer.
        prices: What tokens cost.
        limits: ``requests_per_minute``, ``tokens_per_minute``, ``requests_per_day`` and
            ``tokens_per_day``, None where there is none.
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
        usd_batch=None if usd is None else usd * (1.0 - batch_discount()),
        minutes=minutes[bound] if bound else None,
        bound=bound,
        price_origin=prices.origin(model),
    )


def _minutes(name: str, units: int, limit: int) -> float:
    """Return the time that a limit asks for; the first minute or day of it is free at once."""
    span = DAY / 60 if name.endswith("day") else 1.0
    return max(-(-units // limit) - 1, 0) * span


def _span(minutes: float) -> str:
    if minutes < 120:
        return f"{max(minutes, 1):,.0f} min"
    return f"{minutes / 60:,.1f} h" if minutes < 2 * 24 * 60 else f"{minutes / 60 / 24:,.1f} days"
