"""How large a file may be, unpacked: what is read as a whole fits into memory, and bombs stay packed."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from embexp.data.readers.encoding import COMPRESSIONS, open_binary
from embexp.data.readers.problems import UnreadableError

MAX_MB = 64
"""The default of ``dataset.max_file_mb``; the tree of a page takes about twenty times its text."""
MAX_TABLE_MB = 2_000
"""Tables that cannot be streamed, such as JSON, may be so large."""
MAX_DEPTH = 100
"""Lists and objects in a row of a table may be nested so deep."""
_CONTAINER = 8
"""A file with pictures in it may be so many times as large as a text."""
_MB = 1_000_000
_BLOCK = 1 << 20
_LOCAL_HEADER = 30
_PARSED = (".xml", ".rels", ".html", ".htm", ".xhtml", ".opf", ".ncx", ".svg", ".vml")
"""The parts of a container that are parsed as texts."""
_CONTAINERS = frozenset((".pdf", ".docx", ".pptx", ".xlsx", ".odt", ".odp", ".ods", ".epub", ".eml"))


def most_mb(suffix: str, max_mb: int) -> int:
    """Return how many megabytes a file of a format may have, where a text may have ``max_mb``."""
    return max_mb * (_CONTAINER if suffix in _CONTAINERS else 1)


def check_size(path: Path, max_mb: int, *, remedy: str = "") -> None:
    """Refuse a file that is too large to be read as a whole; a compressed one is unpacked to see that.

    Args:
        path: The file.
        max_mb: The most megabytes that it may have, unpacked.
        remedy: What to do about it; by default, to raise ``dataset.max_file_mb``.

    Raises:
        UnreadableError: It is larger.
    """
    size = path.stat().st_size
    if path.suffix.lower() in COMPRESSIONS and size <= max_mb * _MB:
        size = _decompressed(path, max_mb * _MB)
    if size > max_mb * _MB:
        raise _too_large(path, f"it has more than {max_mb:,} MB", remedy)


def _decompressed(path: Path, most: int) -> int:
    """Return the length of a file, decompressed, or a number above ``most`` without unpacking more."""
    size = 0
    try:
        with open_binary(path) as stream:
            while size <= most and (block := stream.read(_BLOCK)):
                size += len(block)
    except (EOFError, OSError, zlib.error):
        pass  # its reader says what is wrong
    return size


def check_archive(path: Path, stream: IO[bytes], max_mb: int) -> None:
    """Refuse a container whose parts are too large, before a parser unpacks them.

    A part may be larger than the container's list says, so each one is unpacked block by block and counted.

    Raises:
        UnreadableError: The texts in it have more than ``max_mb`` megabytes, or all parts eight times that.
        BadZipFile: It is no such container, or its list of parts is wrong.
    """
    with ZipFile(stream) as archive:
        parts = archive.infolist()
    texts = [part for part in parts if part.filename.lower().endswith(_PARSED)]
    for group, most in ((texts, max_mb * _MB), (parts, max_mb * _MB * _CONTAINER)):
        if sum(part.file_size for part in group) > most:
            raise _too_large(path, f"it unpacks to more than {most // _MB:,} MB")
    for part in parts:
        if part.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise BadZipFile(f"{part.filename} is compressed as no such file is")
        if part.compress_type == ZIP_DEFLATED and _unpacked(stream, part) > part.file_size:
            raise BadZipFile(f"{part.filename} is larger than it says")
    stream.seek(0)


def _unpacked(stream: IO[bytes], part: ZipInfo) -> int:
    """Return the length of a part, or a number above the one that it claims without unpacking more."""
    stream.seek(part.header_offset)
    header = stream.read(_LOCAL_HEADER)
    if len(header) < _LOCAL_HEADER:
        raise BadZipFile(f"{part.filename} is not where it should be")
    stream.seek(sum(struct.unpack("<HH", header[-4:])), 1)
    unpacker, size, left = zlib.decompressobj(-zlib.MAX_WBITS), 0, part.compress_size
    try:
        while size <= part.file_size and (block := stream.read(min(left, _BLOCK))):
            left -= len(block)
            while block and size <= part.file_size:
                size += len(unpacker.decompress(block, _BLOCK))
                block = unpacker.unconsumed_tail
    except zlib.error:
        pass  # the parser says so, if it needs this part
    return size


def check_text(path: Path, letters: int, max_mb: int) -> None:
    """Refuse a file whose text is too large, since it repeats parts of the file.

    Raises:
        UnreadableError: It has more than ``max_mb`` million letters.
    """
    if letters > max_mb * _MB:
        raise _too_large(path, f"its text has more than {max_mb:,} MB")


def _too_large(path: Path, what: str, remedy: str = "") -> UnreadableError:
    remedy = remedy or "leave it out, divide it, or raise dataset.max_file_mb"
    return UnreadableError("too large", f"{path}: {what}; {remedy}.")


def nested_too_deep(value: object, levels: int = MAX_DEPTH) -> bool:
    """Return whether lists and mappings in a value are nested deeper than so many levels."""
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list | tuple):
        inner = list(value)
    else:
        return False
    return levels == 0 or any(nested_too_deep(one, levels - 1) for one in inner)
