"""The settings of ``python -m embexp.publish``: the keys of the group ``publish``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embexp.config.command_option import command_option


def publication(overrides: Sequence[str]) -> Any:
    """Return the ``embexp.publishing.Publication`` that overrides describe.

    Args:
        overrides: ``repo=NAME`` (or ``publish.repo=NAME``) and keys such as ``publish.folder=shared``.

    Raises:
        ConfigError: A key or a value is wrong; the message names the nearest valid one.
    """
    return command_option(
        "publish",
        overrides,
        default="hub",
        short={"repo": "publish.repo"},
        example="repo=docs-search",
        keys=("folder", "private", "force", "license", "data_license"),
    )
