"""Atomic writes, digests and copies: a file written here is complete on disk, or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from embexp.errors import EmbexpError

_BLOCK = 1 << 20


@contextmanager
def space_checked(path: Path) -> Iterator[None]:
    """Turn the OSError of a full disk or a read-only folder into an EmbexpError that names the remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EmbexpError(
                f"No space left on the disk that holds {path}: free some, or set paths.cache and "
                "hydra.run.dir to another disk, and run the same command again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise EmbexpError(
                f"{path} may not be written: change its permissions, or choose another folder "
                "(hydra.run.dir=…, paths.cache=…)."
            ) from error
        raise


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path``; when the block succeeds, flush it and rename it to ``path``.

    Raises:
        EmbexpError: The disk is full or the folder is not writable.
    """
    with space_checked(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        partial = Path(name)
        try:
            with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            partial.chmod(0o644)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power failure."""
    handle = os.open(folder, os.O_RDONLY)
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


def sha256_of(*parts: object) -> str:
    """Return the SHA-256 of JSON-encodable parts as hex; equal parts give the same digest on any machine."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


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
