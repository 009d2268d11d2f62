"""Numbers as people read them."""

from __future__ import annotations


def signed(value: float) -> str:
    """Return a difference with its sign and three digits: ``+0.075``, ``−0.012``."""
    return f"{value:+.3f}".replace("-", "−")


def spelled(interval: tuple[float, float]) -> str:
    """Return an interval as ``+0.012 … +0.034``."""
    return f"{signed(interval[0])} … {signed(interval[1])}"


def counted(number: int, word: str) -> str:
    """Return ``1 question`` or ``1,200 questions``."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
