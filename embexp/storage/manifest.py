"""The sidecar of a data file: what it holds, from what settings and which code it came."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from embexp import __version__
from embexp.storage.files import sha256_of_file, write_json

SCHEMA_VERSION = 1


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
        settings: The resolved options that shaped it.
        commit: The code's git commit, where it is known.
        usage: The requests, tokens and dollars that a language model took for it.
    """
    target = path.with_name(f"{path.name.removesuffix(path.suffix)}.manifest.json")
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "file": path.name,
        "sha256": sha256_of_file(path),
        "records": records,
        "embexp_version": __version__,
        "git_commit": commit,
        "settings": settings,
        **({"usage": usage} if usage else {}),
    }
    write_json(target, manifest)
    return target
