"""What a cache holds: the results of steps, vectors and answers, and which of them may be deleted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embexp.errors import DataError
from embexp.storage.stages import DONE, discard, runs_of

VECTORS = ("embeddings", "teacher")
"""The folders below a cache that hold the vectors of models."""
ANSWERS = "llm"
"""The folder of the answers of language models."""
_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class Entry:
    """A part of a cache that is deleted as a whole.

    Attributes:
        kind: The step that left it, such as ``pairs``; ``embeddings``, ``teacher`` or ``llm``.
        folder: Its folder.
        finished: Whether it is complete; what an interrupted step left is not, and is continued.
        size: The bytes of its files.
        used: When it was last used, in seconds since 1970.
        runs: The folders of the runs that used it, the first first.
    """

    kind: str
    folder: Path
    finished: bool
    size: int
    used: float
    runs: tuple[str, ...] = ()


def entries(root: Path) -> list[Entry]:
    """Return everything that a cache holds, by kind, the last used first.

    Raises:
        DataError: There is no such folder.
    """
    if not root.is_dir():
        raise DataError(
            f"{root}: there is no cache here; name its folder with --cache (paths.cache of a run)."
        )
    found = []
    for kind in sorted(path for path in root.iterdir() if path.is_dir()):
        if kind.name == ANSWERS:
            found.append(_entry(kind.name, kind))
            continue
        each = [_entry(kind.name, folder) for folder in kind.iterdir() if folder.is_dir()]
        found += sorted(each, key=lambda entry: -entry.used)
    return found


def _entry(kind: str, folder: Path) -> Entry:
    files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return Entry(
        kind=kind,
        folder=folder,
        finished=kind in (*VECTORS, ANSWERS) or (folder / DONE).is_file(),
        size=sum(each.st_size for each in files),
        used=max((each.st_mtime for each in files), default=0.0),
        runs=runs_of(folder),
    )


def not_used_for(found: Sequence[Entry], days: float) -> list[Entry]:
    """Return the entries that were last used more than so many days ago."""
    return [entry for entry in _deletable(found) if entry.used < time.time() - days * _DAY]


def beyond(found: Sequence[Entry], size: int) -> list[Entry]:
    """Return the entries to delete, the least recently used first, for the rest to fit into so many bytes."""
    total, chosen = sum(entry.size for entry in found), []
    for entry in sorted(_deletable(found), key=lambda entry: entry.used):
        if total <= size:
            break
        chosen.append(entry)
        total -= entry.size
    return chosen


def of_run(found: Sequence[Entry], run: Path) -> list[Entry]:
    """Return the entries that a run used, and no other run whose folder still exists.

    Raises:
        DataError: No entry knows this run.
    """
    name = str(run.resolve())
    used = [entry for entry in _deletable(found) if name in entry.runs]
    if not used:
        known = sorted({each for entry in found for each in entry.runs})
        raise DataError(
            f"{run}: no result in the cache comes from this run. "
            + (f"It knows {', '.join(known[-3:])}." if known else "It knows no run.")
        )
    return [entry for entry in used if not any(each != name and Path(each).exists() for each in entry.runs)]


def _deletable(found: Sequence[Entry]) -> list[Entry]:
    """Leave out the answers of language models, which were paid for."""
    return [entry for entry in found if entry.kind != ANSWERS]


def delete(chosen: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Delete entries.

    Returns:
        Those that were deleted, and those that a process is using.
    """
    deleted: list[Entry] = []
    in_use: list[Entry] = []
    for entry in chosen:
        (deleted if discard(entry.folder) else in_use).append(entry)
    return deleted, in_use
