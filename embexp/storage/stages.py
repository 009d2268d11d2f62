"""The stage cache: the files of a step, stored under a hash of what the step read and of its settings."""

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

from embexp.package import __version__
from embexp.storage.files import sha256_of, space_checked, write_json

log = logging.getLogger(__name__)
DONE = "done.json"
_LAYOUT = 3
"""Raise it when a stage writes other fields while the version stays, so that older results are ignored."""


@dataclass(frozen=True)
class Stage:
    """The folder of one step; ``done`` holds the step's result, or None while there is work left to do."""

    name: str
    key: str
    folder: Path
    done: dict[str, Any] | None

    def finish(self, result: dict[str, Any]) -> None:
        """Store the result and mark the step as complete: later runs with the same inputs reuse it."""
        write_json(self.folder / DONE, result)


class StageCache:
    """Folders ``root/STAGE/KEY``, each locked while a process works in it.

    The key covers the stage's name, its inputs and the version of embexp. A folder without ``done.json``
    was left by an interrupted run; the next run with the same key continues in it, with the checkpoints
    or answers that it holds.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str, *inputs: object) -> Path:
        """Return the folder of the stage with these inputs, whether it exists or not."""
        return self.root / name / sha256_of(_LAYOUT, __version__, name, *inputs)[:24]

    @contextmanager
    def stage(self, name: str, *inputs: object) -> Iterator[Stage]:
        """Open the folder for these inputs; a second process with the same inputs waits for the first.

        Raises:
            EmbexpError: The disk is full or the cache folder is not writable.
        """
        folder = self.folder(name, *inputs)
        with space_checked(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder)
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another process works on the same inputs; waiting for its result.", name)
            held = lock.acquire()
        with held:
            marker = folder / DONE
            done = json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else None
            if done is not None:
                log.info("%s: nothing changed, taken from the cache (%s)", name, folder.name)
            yield Stage(name, folder.name, folder, done)


def discard(folder: Path) -> bool:
    """Delete the folder of a stage, unless a process works in it; return whether it was deleted."""
    try:
        with _lock(folder).acquire(timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        return False
    return True


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.with_suffix(".lock"))
