"""Atomic writes, digests and copies: a file written here is complete on disk, or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from embexp.errors import EmbexpError

_BLOCK = 1 << 20
_LONGEST_PATH = 160


_SPACE = (
    "free some (python -m embexp.cache prune deletes old results), or set paths.cache, hydra.run.dir and "
    "paths.root to another disk, and run the same command again"
)
_ELSEWHERE = "choose another folder (hydra.run.dir=…, paths.cache=…, paths.root=…)"
_PROBLEMS = {
    errno.ENOSPC: f"No space left on the disk that holds {{path}}: {_SPACE}.",
    errno.EDQUOT: f"Your disk quota is used up at {{path}}: {_SPACE}.",
    errno.EFBIG: f"{{path}} would be larger than the file system or your limits allow: {_SPACE}.",
    errno.EROFS: f"{{path}} is on a file system that may only be read: {_ELSEWHERE}.",
    errno.EACCES: f"{{path}} may not be read or written: change its permissions, or {_ELSEWHERE}.",
    errno.ENAMETOOLONG: "The name {path} is too long for the file system: choose a shorter one "
    "(hydra.run.dir=…, paths.cache=…, paths.root=…, tracker.experiment=…).",
    errno.ENOTDIR: f"A part of {{path}} is a file and would have to be a folder: {_ELSEWHERE}.",
    errno.EIO: f"The disk of {{path}} fails to read or write: check it, or {_ELSEWHERE}.",
}
_PROBLEMS |= {errno.EPERM: _PROBLEMS[errno.EACCES], errno.EEXIST: _PROBLEMS[errno.ENOTDIR]}
_TEXTS = {
    errno.ENOSPC: (
        "no space left",
        "disk is full",
        "os error 28",
        "storagefull",
        "pytorchstreamwriter failed writing",
    ),
    errno.EDQUOT: ("quota exceeded", "os error 122"),
    errno.EFBIG: ("file too large", "os error 27"),
    errno.EROFS: ("read-only file system", "os error 30"),
    errno.EACCES: ("readonly database", "os error 13"),
    errno.ENAMETOOLONG: ("file name too long", "os error 36"),
    errno.EIO: ("disk i/o error", "os error 5)"),
}
"""What libraries say that hide the system's error in a text: SQLite, Chroma, safetensors, torch."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, the one that caused it, and so on."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


def disk_problem(error: BaseException, path: Path | str | None = None) -> EmbexpError | None:
    """Return a sentence for an error that a disk causes; None for every other error.

    Args:
        error: What was raised, by the system or by a library.
        path: What was written, as a path or in words, if the error itself does not name it.
    """
    for cause in causes(error):
        if isinstance(cause, EmbexpError):
            return None
        code = cause.errno if isinstance(cause, OSError) else _code_in(str(cause).lower())
        if code in _PROBLEMS:
            # Of a copy, the second name is that of the target.
            named = (cause.filename2 or cause.filename) if isinstance(cause, OSError) else None
            if code == errno.EEXIST and not (named and Path(named).is_file()):
                return None
            name = str(named or path or _fullest_disk())
            return EmbexpError(_PROBLEMS[code].format(path=_shortened(name)))
    return None


def _shortened(name: str) -> str:
    """Return a path without its middle where it is very long."""
    return name if len(name) <= _LONGEST_PATH else f"{name[:60]}…{name[-40:]}"


def _code_in(text: str) -> int | None:
    return next((code for code, words in _TEXTS.items() if any(word in text for word in words)), None)


def _fullest_disk() -> str:
    """Return the folder on the fullest disk: an error of a library seldom says where it happened."""
    return str(
        min((Path.cwd(), Path(tempfile.gettempdir())), key=lambda folder: shutil.disk_usage(folder).free)
    )


@contextmanager
def space_checked(path: Path) -> Iterator[None]:
    """Turn the error of a full disk or a read-only folder into an EmbexpError that names the remedy."""
    try:
        yield
    except Exception as error:
        problem = disk_problem(error, path)
        if problem is None:
            raise
        raise problem from error


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path``; when the block succeeds, flush it and rename it to ``path``.

    A library that wants a name instead of a stream may write to the stream's ``name``, or put a file of its
    own there.

    Raises:
        EmbexpError: The disk is full or the folder is not writable.
    """
    with space_checked(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        partial = Path(name)
        try:
            with partial.open(mode, encoding=None if "b" in mode else "utf-8") as stream:
                yield stream
            sync(partial)
            partial.chmod(0o644)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to disk: a rename in the folder then survives a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON, atomically."""
    with atomic_write(path) as stream:
        json.dump(value, stream, indent=2, ensure_ascii=False)
        stream.write("\n")


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as hex, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


_encoder = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=str)
"""Made once: every chunk has a digest or two."""


def sha256_of(*parts: object) -> str:
    """Return the SHA-256 of JSON-encodable parts as hex; equal parts give the same digest on any machine."""
    text = _encoder.encode(parts)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def sha256_of_rows(rows: Iterable[object]) -> str:
    """Return what ``sha256_of(list(rows))`` returns, with one row at a time in memory."""
    digest, separator = hashlib.sha256(b"[["), b""
    for row in rows:
        digest.update(separator + _encoder.encode(row).encode("utf-8", errors="surrogatepass"))
        separator = b", "
    digest.update(b"]]")
    return digest.hexdigest()


def remove_folder(folder: Path) -> None:
    """Delete a folder with everything in it, if there is one."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def size_of_folder(folder: Path) -> int:
    """Return how many bytes the files of a folder hold, those of its subfolders included."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def copy_folder(source: Path, target: Path) -> None:
    """Replace ``target`` with a copy of ``source``; readers see the old folder or the complete new one."""
    failed: list[OSError] = []

    def copy(file: str, to: str) -> None:
        try:
            shutil.copy2(file, to)
        except OSError as error:
            failed.append(error)  # copytree goes on, and in the end tells the errors as text only
            raise

    with space_checked(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            shutil.copytree(source, partial, dirs_exist_ok=True, copy_function=copy)
            partial.chmod(0o755)
            if target.exists():
                shutil.rmtree(target)
            partial.replace(target)
        except BaseException as error:
            shutil.rmtree(partial, ignore_errors=True)
            if isinstance(error, shutil.Error) and failed:
                raise failed[0] from error
            raise
