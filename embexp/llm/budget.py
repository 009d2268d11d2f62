"""Money: what is spent, what may yet be, and the hard stop."""

from __future__ import annotations


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
