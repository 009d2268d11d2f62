"""The index of finished runs in the cache, which finds a run whatever folder it was told to write to."""

from __future__ import annotations

import json
from pathlib import Path

from embexp.storage.files import sha256_of, write_json

_FOLDER = "runs"
OUTCOME = "outcome.json"
"""The file by which a finished run's folder is known."""


def record_run(cache: Path, folder: Path) -> None:
    """Add a finished run to the index; a run that is repeated in its folder has one entry."""
    write_json(_entry(cache, folder), {"folder": str(folder.resolve())})


def finished_runs(cache: Path, outputs: Path | None = None) -> list[Path]:
    """Return the folders of finished runs that still exist, the last finished first.

    Args:
        cache: The cache whose index is read.
        outputs: A folder that is searched as well, for runs with another cache.
    """
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (cache / _FOLDER).glob("*.json")]
    folders = {Path(record["folder"]) for record in records}
    if outputs is not None:
        folders |= {path.parent.resolve() for path in outputs.rglob(OUTCOME)}
    existing = [folder for folder in folders if (folder / OUTCOME).is_file()]
    return sorted(existing, key=lambda folder: (folder / OUTCOME).stat().st_mtime, reverse=True)


def forget_run(cache: Path, folder: Path) -> None:
    """Remove a run from the index."""
    _entry(cache, folder).unlink(missing_ok=True)


def _entry(cache: Path, folder: Path) -> Path:
    return cache / _FOLDER / f"{sha256_of(str(folder.resolve()))[:16]}.json"
