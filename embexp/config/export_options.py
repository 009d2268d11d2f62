"""The settings of ``python -m embexp.export``: an option of the group ``export``, and its keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embexp.config.command_option import command_option


def export_format(overrides: Sequence[str]) -> Any:
    """Return the ``embexp.exporting.ExportFormat`` that overrides choose.

    Args:
        overrides: ``format=onnx_int8`` (or ``export=onnx_int8``) and keys such as ``export.tolerance=0.02``.

    Raises:
        ConfigError: An option, a key or a value is wrong; the message names the nearest valid one.
    """
    return command_option(
        "export",
        overrides,
        default="onnx",
        short={"format": "export"},
        example="format=onnx",
        keys=("tolerance", "timed_texts"),
    )
