"""The manifest beside a data file: its content, the settings and the code that produced it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from embexp.masking import masked
from embexp.package import __version__
from embexp.storage.files import sha256_of_file, write_json

_SCHEMA_VERSION = 1


def write_manifest(
    path: Path,
    *,
    records: int,
    settings: Mapping[str, object],
    commit: str | None,
    usage: Mapping[str, object] | None = None,
) -> Path:
    """Write ``NAME.manifest.json`` beside a data file and return its path.

    Args:
        path: The finished data file.
        records: How many records it holds.
        settings: The resolved options that produced it; secrets are masked.
        commit: The git commit of the code, or None if it is unknown.
        usage: The requests, tokens and dollars spent on a language model to write it.
    """
    target = path.with_name(f"{path.name.removesuffix(path.suffix)}.manifest.json")
    manifest = {
        "schema_version": _SCHEMA_VERSION,
        "file": path.name,
        "sha256": sha256_of_file(path),
        "records": records,
        "embexp_version": __version__,
        "git_commit": commit,
        "settings": masked(settings),
        **({"usage": usage} if usage else {}),
    }
    write_json(target, manifest)
    return target
