"""Dropout whose masks a CPU draws several times as quickly: one 64-bit random number serves four values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LEVELS = 2**16


@contextmanager
def quick_dropout() -> Iterator[None]:
    """Within the block, every ``torch.nn.functional.dropout`` (so every ``nn.Dropout``) is ``dropout`` below.

    Half of the time that a small transformer spends beside its matrix products on a CPU goes to the
    Bernoulli generator: it draws its numbers one value at a time, for each attention weight and state. The
    function itself is exchanged, since torch's own modes for that do not reach what ``backward`` calls,
    where losses in less memory embed once more and must drop the same values.
    """
    from torch.nn import functional

    own = functional.dropout
    functional.dropout = dropout
    try:
        yield
    finally:
        functional.dropout = own


def dropout(
    input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    """Zero each value with probability ``p`` and divide the others by ``1 - p`` (Srivastava et al. 2014).

    The arguments are those of ``torch.nn.functional.dropout``. ``p`` is rounded to a multiple of 2⁻¹⁶; the
    kept values are divided by the rounded probability, so that the expectation is exact.

    Args:
        input: Values of a floating type, of any shape.
        p: The probability.
        training: Whether to drop anything.
        inplace: Whether to change ``input`` itself.

    Returns:
        Values of the same shape and type.

    Raises:
        ValueError: ``p`` is no probability.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    dropped = round(p * LEVELS)
    if not training or not dropped:
        return input
    factors = _factors(input, dropped)
    return input.mul_(factors) if inplace else input * factors


def _factors(like: torch.Tensor, dropped: int) -> torch.Tensor:
    """Return 0 for each value that is dropped, and what to multiply it by for each other."""
    import torch

    if dropped == LEVELS:
        return torch.zeros_like(like)
    number = like.numel()
    words = torch.empty(math.ceil(number / 4), dtype=torch.int64, device=like.device)
    pieces = words.random_(torch.iinfo(torch.int64).min, None).view(torch.int16)[:number].view(like.shape)
    # Written out as numbers of the right type at once: masks of booleans are five times as slow to apply.
    factors = torch.empty(like.shape, dtype=like.dtype, device=like.device)
    torch.ge(pieces, dropped - LEVELS // 2, out=factors)
    return factors.mul_(LEVELS / (LEVELS - dropped))
