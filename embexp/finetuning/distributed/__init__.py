"""Training in several processes."""

from __future__ import annotations
