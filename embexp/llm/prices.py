"""What tokens cost and what limits hold, with the day they were seen; a person's own numbers come first."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from embexp.errors import ConfigError

MILLION = 1_000_000


@cache
def _listed() -> dict[str, Any]:
    listed: dict[str, Any] = json.loads(
        files("embexp.llm").joinpath("prices.json").read_text(encoding="utf-8")
    )
    return listed


def batch_discount() -> float:
    """Return the part of the live price that a batch saves."""
    return float(_listed()["batch_discount"])


def free_limits(model: str) -> dict[str, int]:
    """Return a model's listed limits for accounts that do not pay, by the names of the pace's settings."""
    return dict(_listed()["models"].get(model, {}).get("free", {}))


class Prices:
    """US dollars per million tokens by model.

    Args:
        own: ``{model: {"input": dollars, "output": dollars}}``; it goes before the list that comes
            with the package.
        discount: The part that is taken off, 0.5 for batches.
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
        """Return a model's prices for input and output, or None where they are not known."""
        price = self._own.get(model) or _listed()["models"].get(model) or {}
        if price.get("input") is None or price.get("output") is None:
            return None
        return float(price["input"]) * self._factor, float(price["output"]) * self._factor

    def origin(self, model: str) -> str:
        """Return whose prices hold for a model, with the date on which the listed ones were seen."""
        if model in self._own:
            return "of llm.prices"
        return f"seen on {_listed()['models'].get(model, {}).get('as_of', 'an unknown date')}"

    def cost(self, model: str, prompt_tokens: int, completion_tokens: int) -> float:
        """Return what tokens cost in US dollars; 0 where the price is not known."""
        price = self.of(model)
        if price is None:
            return 0.0
        return (prompt_tokens * price[0] + completion_tokens * price[1]) / MILLION

    def needed(self, models: list[str], budget_usd: float | None) -> None:
        """Refuse a budget that could not be kept, for want of a price.

        Raises:
            ConfigError: A budget is set and a model's price is not known.
        """
        if budget_usd is not None and budget_usd <= 0:
            raise ConfigError(f"llm.budget_usd={budget_usd}: give an amount above 0, or null for no limit.")
        unknown = [model for model in models if self.of(model) is None]
        if budget_usd is not None and unknown:
            raise ConfigError(
                f"llm.budget_usd={budget_usd} cannot be kept: the price of {unknown[0]} is not known. "
                f"Give it, as in 'llm.prices={{{unknown[0]}: {{input: 0.15, output: 0.60}}}}' (US$ per "
                "million tokens), or set llm.budget_usd=null."
            )


class Budget:
    """US dollars: what is spent, what requests under way may cost at worst, and the hard stop.

    Args:
        limit: The most to spend, or None.
        spent: What the journal says was spent before.
    """

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        self.limit = limit
        self.spent = spent
        self.flying = 0.0

    def fits(self, cost: float) -> bool:
        """Whether a request may be sent that costs ``cost`` at worst."""
        return self.limit is None or self.spent + self.flying + cost <= self.limit
