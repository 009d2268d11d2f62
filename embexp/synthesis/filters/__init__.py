"""The funnel that written pairs pass through: filters in a row, each optional, each counted."""

from __future__ import annotations
