"""The stage cache: the files of a step, stored under a hash of what the step read and of its settings."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from embexp.errors import DataError
from embexp.package import __version__
from embexp.storage.files import sha256_of, space_checked, write_json

log = logging.getLogger(__name__)
T = TypeVar("T")
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

    def stored(self, read: Callable[[dict[str, Any]], T]) -> T | None:
        """Return the stored result as ``read`` reads it; None if there is none, or none that can be used.

        A result that another state of the code wrote, or whose files are damaged, is told in the log: the
        step is then done again.

        Args:
            read: Given ``done``, reads and validates the result.
        """
        if self.done is None:
            return None
        try:
            return read(self.done)
        except (ValueError, TypeError, LookupError, OSError, DataError) as error:
            problem = " ".join(str(error).split())[:200]
            log.warning(
                "%s: the cached result in %s cannot be used (%s); it is computed again.",
                *(self.name, self.folder, problem),
            )
            return None

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
            done = _result(folder / DONE)
            if done is not None:
                log.info("%s: nothing changed, taken from the cache (%s)", name, folder.name)
            yield Stage(name, folder.name, folder, done)


def _result(marker: Path) -> dict[str, Any] | None:
    """Return a step's result; None where it is not finished, or where done.json is damaged."""
    try:
        result = json.loads(marker.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        log.warning("%s is damaged (%s); the step is done again.", marker, error)
        return None
    if isinstance(result, dict):
        return result
    log.warning("%s is damaged (it holds no object); the step is done again.", marker)
    return None


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
