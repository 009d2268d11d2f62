"""What ``python -m embexp.migrate`` does: an option of the group ``migrate`` with overrides of its keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embexp.config.command_option import command_option


def migration(overrides: Sequence[str]) -> Any:
    """Return the ``embexp.migrating.DriftAdapter`` or ``ChromaMigration`` that overrides choose.

    Args:
        overrides: ``migrate=adapter``, or ``migrate=chroma migrate.path=chroma migrate.collection=manual``.

    Raises:
        ConfigError: An option, a key or a value is wrong; the message names the nearest valid one.
    """
    return command_option(
        "migrate",
        overrides,
        default="adapter",
        short={"migrate": "migrate"},
        example="migrate=chroma",
        keys=("collection", "path", "host", "drop_old", "any_model", "batch", "kinds"),
    )
