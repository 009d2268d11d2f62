"""Checks and types that the losses' options share."""

from __future__ import annotations

import math
from typing import Literal

from embexp.errors import ConfigError

Distance = Literal["cosine", "euclidean", "manhattan"]


def above_zero(**options: float) -> None:
    """Check options of a loss.

    Raises:
        ConfigError: One is 0, negative or not a number.
    """
    for name, value in options.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"loss.{name}={value}: must be above 0; leave it out to use the default.")
