"""The stage cache: the files of a step, stored under a hash of what the step read and of its settings."""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from embexp.errors import DamagedError, DataError, EmbexpError, PrunedError
from embexp.package import __version__
from embexp.storage.checksums import (
    FileRecord,
    find_damage,
    read_checked_json,
    record_files,
    write_checked_json,
)
from embexp.storage.files import atomic_write, causes, sha256_of, space_checked, write_json

log = logging.getLogger(__name__)
T = TypeVar("T")
DONE = "done.json"
_USE = "use.json"
_TAG = "CACHEDIR.TAG"
_TAG_TEXT = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of embexp. It may be deleted at any time.\n"
)
_LAYOUT = 8
"""Raise it when a stage writes other fields or computes other results while the version stays, so that older
ones are ignored."""


@dataclass(frozen=True)
class Stage:
    """The folder of one step; ``done`` holds the step's result, or None while there is work left to do."""

    name: str
    key: str
    folder: Path
    done: dict[str, Any] | None
    token: str = field(default="", repr=False)

    def stored(self, read: Callable[[dict[str, Any]], T]) -> T | None:
        """Return the stored result as ``read`` reads it; None if there is none, or none that can be used.

        A result that another state of the code wrote is told in the log: the step is then done again.

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

    def finish(self, result: dict[str, Any], *files: str) -> None:
        """Store the result and mark the step as complete: later runs with the same inputs reuse it.

        Args:
            result: What ``done`` is from now on.
            files: The files that the step leaves for later runs, and folders of which every file counts.
                Sizes and checksums are stored with the result, so that damage is noticed.

        Raises:
            EmbexpError: A file is missing, or the folder was deleted while the step was worked on.
        """
        try:
            if not self._kept():
                raise FileNotFoundError
            records = record_files(self.folder, files)
        except FileNotFoundError as error:
            raise deleted(self.folder) from error
        write_checked_json(self.folder / DONE, {"result": result, "files": records})

    def _kept(self) -> bool:
        """Say whether the folder is still the one that was opened."""
        return _read_use(self.folder).get("token") == self.token


class StageCache:
    """Folders ``root/STAGE/KEY``, each locked while a process works in it.

    The key covers the stage's name, its inputs and the version of embexp. A folder without ``done.json``
    was left by an interrupted run; the next run with the same key continues in it, with the checkpoints
    or answers that it holds. A folder whose files are damaged is emptied, and its step is done again.

    Args:
        root: The folder of the cache.
        run: The folder of the run that uses it, which each stage remembers; None for none.
    """

    def __init__(self, root: Path, *, run: Path | None = None) -> None:
        self.root = root
        self.run = run

    def folder(self, name: str, *inputs: object) -> Path:
        """Return the folder of the stage with these inputs, whether it exists or not."""
        return self.root / name / sha256_of(_LAYOUT, __version__, name, *inputs)[:24]

    @contextmanager
    def stage(self, name: str, *inputs: object) -> Iterator[Stage]:
        """Open the folder for these inputs; a second process with the same inputs waits for the first.

        Raises:
            EmbexpError: The disk is full, the cache folder is not writable, or it was deleted while the step
                was worked on.
        """
        folder = self.folder(name, *inputs)
        with space_checked(folder):
            folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder)
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another process is working on the same inputs; waiting for its result.", name)
            held = lock.acquire()
        with held:
            done = _undamaged_result(name, folder)
            stage = Stage(name, folder.name, folder, done, token=_note_use(folder, self.run))
            if done is not None:
                log.info("%s: nothing changed, taken from the cache (%s)", name, folder.name)
            try:
                yield stage
            except PrunedError:
                raise
            except Exception as error:
                if stage._kept():
                    raise
                raise deleted(folder) from error


def _undamaged_result(name: str, folder: Path) -> dict[str, Any] | None:
    """Return a step's result; None where it is not finished. Damage is told, and the folder emptied."""
    result, problem = check_stage(folder)
    if problem is not None:
        log.warning("%s: the cache in %s is damaged (%s); it is computed again.", name, folder, problem)
        with space_checked(folder):
            shutil.rmtree(folder)
            folder.mkdir(parents=True)
    return result


def check_stage(folder: Path, *, whole: bool = False) -> tuple[dict[str, Any] | None, str | None]:
    """Return the result of a stage and what is damaged, of which one at least is None.

    Args:
        folder: The folder of the stage.
        whole: Whether to read its files whole, however large they are.
    """
    try:
        done = read_checked_json(folder / DONE)
        records: dict[str, FileRecord] = done["files"]
        result: dict[str, Any] = done["result"]
    except FileNotFoundError:
        return None, None
    except DamagedError:
        return None, f"{DONE} was changed"
    problem = find_damage(folder, records, whole=whole)
    return (None, problem) if problem else (result, None)


def deleted(folder: Path) -> EmbexpError:
    """Return the error for a part of the cache that vanished while it was used."""
    return EmbexpError(
        f"{folder} was deleted while this run used it: run the same command again, which does the work that "
        "is missing."
    )


@contextmanager
def deletion_reported(root: Path) -> Iterator[None]:
    """Report whatever error the deletion of the cache causes in this block as just that.

    Args:
        root: The folder of the cache; it is created if necessary.

    Raises:
        EmbexpError: The cache, or a file in it, was deleted; or its folder cannot be written.
    """
    tag = root / _TAG
    if not tag.is_file():
        with atomic_write(tag) as stream:
            stream.write(_TAG_TEXT)
    try:
        yield
    except PrunedError:
        raise
    except Exception as error:
        if not tag.is_file():
            raise deleted(root) from error
        if (path := _missing_below(root, error)) is not None:
            raise deleted(path) from error
        raise


def _missing_below(root: Path, error: BaseException) -> Path | None:
    """Return the file of the cache that caused an error by not being there; None if there is none."""
    for cause in causes(error):
        if isinstance(cause, FileNotFoundError) and any(
            str(each) in str(cause) for each in (root, root.resolve())
        ):
            return Path(cause.filename or root)
    return None


def _note_use(folder: Path, run: Path | None) -> str:
    """Note that a run uses a stage, and return a token by which the folder is recognised."""
    use = _read_use(folder)
    runs = [*use.get("runs", ()), *([str(run.resolve())] if run else ())]
    token = uuid.uuid4().hex
    write_json(folder / _USE, {"token": token, "runs": list(dict.fromkeys(runs))})
    return token


def runs_of(folder: Path) -> tuple[str, ...]:
    """Return the folders of the runs that used a stage, in the order of their first use."""
    return tuple(str(run) for run in _read_use(folder).get("runs", ()))


def _read_use(folder: Path) -> dict[str, Any]:
    """Return the token of the last use, and the folders of the runs that used a stage."""
    try:
        use = json.loads((folder / _USE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return use if isinstance(use, dict) else {}


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
