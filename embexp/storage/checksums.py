"""Checksums of files: damage to what embexp wrote earlier is noticed before it is used.

Files are divided into blocks, each with a checksum of its own, so that a large file can be checked in part.
The checksums (XXH3, 64 bits) find accidents of disks, copies and editors. They are no protection against an
attacker, who can write new ones.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from embexp.errors import DamagedError
from embexp.storage.files import write_json

BLOCK = 1 << 20
QUICK_BYTES = 4 << 30
"""What a quick check reads at most, about: a second from memory, a few from an SSD. Most models fit."""
_HEX = 16
_LOCK = ".lock"


class FileRecord(TypedDict):
    """What is known of a file: its bytes, and the checksums of its blocks, 16 hexadecimal digits each."""

    size: int
    blocks: str


def checksum(data: bytes | memoryview) -> str:
    """Return the checksum of some bytes, 16 hexadecimal digits."""
    import xxhash

    return str(xxhash.xxh3_64_hexdigest(data))


def record_files(folder: Path, names: Iterable[str]) -> dict[str, FileRecord]:
    """Return the records of files in ``folder``, by their path below it.

    Args:
        folder: The folder.
        names: Files, and folders of which every file counts.

    Raises:
        FileNotFoundError: A file is not there, or a folder has no file.
    """
    records = {}
    for name in names:
        paths = sorted(_files(folder / name))
        if not paths:
            raise FileNotFoundError(f"{folder / name} is missing")
        for path in paths:
            records[path.relative_to(folder).as_posix()] = _record(path)
    return records


def find_damage(folder: Path, records: Mapping[str, FileRecord], *, whole: bool = False) -> str | None:
    """Compare files with their records, and return what is wrong with the first that differs, or None.

    All sizes are compared. Of the content, ``whole`` compares everything; otherwise a set of more than
    4 GiB is compared in part: the first and the last block of each file, and others at random.

    Args:
        folder: The folder that the records are relative to.
        records: What ``record_files`` returned.
        whole: Whether to read everything, however long it takes.
    """
    for name, record in records.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if (size := path.stat().st_size) != record["size"]:
            return f"{name} has {size:,} bytes and had {record['size']:,}"
    total = sum(record["size"] for record in records.values())
    share = 1.0 if whole or total <= QUICK_BYTES else QUICK_BYTES / total
    for name, record in records.items():
        try:
            if _differs(folder / name, record, share):
                return f"{name} was changed"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def _differs(path: Path, record: FileRecord, share: float) -> bool:
    expected = [record["blocks"][at : at + _HEX] for at in range(0, len(record["blocks"]), _HEX)]
    with path.open("rb") as stream:
        for number in _chosen(len(expected), share):
            stream.seek(number * BLOCK)
            if checksum(stream.read(BLOCK)) != expected[number]:
                return True
    return False


def _chosen(count: int, share: float) -> list[int]:
    """Return the numbers of the blocks to read: the first, the last, and others at random."""
    if share == 1.0 or count <= 2:
        return list(range(count))
    others = random.sample(range(1, count - 1), min(count - 2, math.ceil(share * count)))
    return sorted({0, count - 1, *others})


def _record(path: Path) -> FileRecord:
    with path.open("rb") as stream:
        blocks = [(len(block), checksum(block)) for block in _blocks(stream)]
    return {"size": sum(size for size, _ in blocks), "blocks": "".join(digest for _, digest in blocks)}


def _blocks(stream: Any) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        yield block


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and file.name != _LOCK]


def write_checked_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as JSON together with its checksum, atomically."""
    plain = json.loads(json.dumps(content))  # as it will be read: names are strings, tuples are lists
    write_json(path, {"content": plain, "checksum": _json_checksum(plain)})


def read_checked_json(path: Path) -> dict[str, Any]:
    """Return the object that ``write_checked_json`` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedError: It is not as it was written.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        content: dict[str, Any] = stored["content"]
        if stored["checksum"] == _json_checksum(content):
            return content
    except (ValueError, LookupError, TypeError) as error:
        raise DamagedError(f"{path} is damaged ({error}).") from error
    raise DamagedError(f"{path} was changed.")


def _json_checksum(content: object) -> str:
    return checksum(json.dumps(content, sort_keys=True).encode())
