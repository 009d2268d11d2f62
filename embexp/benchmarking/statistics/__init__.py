"""Whether a difference is real: bootstrap, randomisation test, corrections, power and intervals."""

from __future__ import annotations
