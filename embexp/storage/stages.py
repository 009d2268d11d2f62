"""The stage cache: a step's files, kept under the hash of what it read and of the settings that shape it."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from embexp.storage.files import sha256_of, space_checked, write_json

log = logging.getLogger(__name__)
DONE = "done.json"
LAYOUT = 2
"""Of what stages keep; raise it when a stage writes other fields, so that older caches are left alone."""


@dataclass(frozen=True)
class Stage:
    """One step's folder: ``done`` holds what it returned, or None while it still has work to do."""

    name: str
    key: str
    folder: Path
    done: dict[str, Any] | None

    def finish(self, result: dict[str, Any]) -> None:
        """Mark the step as complete; from now on the same inputs are not worked on again."""
        write_json(self.folder / DONE, result)


@contextmanager
def _alone(lock_file: Path, name: str) -> Iterator[None]:
    """Hold the lock; say so where another process has it, since its work may take long."""
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s: another process works on the same inputs; waiting for its result.", name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def discard(folder: Path) -> bool:
    """Delete what a stage left in the cache, unless a process works in it; say whether that was done."""
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    try:
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        lock.release()
    return True


class StageCache:
    """Folders ``root/STAGE/KEY``, each locked while a process works in it.

    A folder without ``done.json`` is the trace of a run that was cut off: the next run with the same
    key gets it back, with the checkpoints or answers that it holds.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str, *inputs: object) -> Path:
        """Return where the stage with these inputs keeps its files."""
        return self.root / name / sha256_of(LAYOUT, name, *inputs)[:24]

    @contextmanager
    def stage(self, name: str, *inputs: object) -> Iterator[Stage]:
        """Open the folder for these inputs; a second process with the same ones waits for the first.

        Raises:
            EmbexpError: The disk is full or the cache folder may not be written.
        """
        folder = self.folder(name, *inputs)
        key = folder.name
        with space_checked(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_suffix(".lock"), name):
            marker = folder / DONE
            done = json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else None
            if done is not None:
                log.info("%s: nothing changed, taken from the cache (%s)", name, key)
            yield Stage(name, key, folder, done)
