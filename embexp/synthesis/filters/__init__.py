"""The filters that written pairs must pass, each optional and each counted."""

from __future__ import annotations
