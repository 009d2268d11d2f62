"""Bytes to text: compressed files, the encoding of a file, and the characters that no text should hold."""

from __future__ import annotations

import codecs
import gzip
import io
import logging
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from embexp.data.languages import language_of
from embexp.data.readers.alphabets import ALPHABETS, east_asian, fit
from embexp.data.readers.problems import Problems, UnreadableError, counted

log = logging.getLogger(__name__)

COMPRESSIONS = (".gz", ".zst")
_BLOCK = 1 << 20
_SAMPLE_BYTES = 1 << 16
"""The encoding is guessed from the lines with bytes that are not UTF-8, up to this many bytes of them."""
_SHOWN_LINES = 5
_LONGEST_LINE = 1 << 26
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_WESTERN_FIT = 0.9
_NO_WESTERN_FIT = 0.6
_CLEAR_FIT = 0.95
_MIN_LETTERS = 5
"""How many letters have to speak for another encoding than the Western one."""
_MAX_CONTROLS = 0.02
_MIN_WIDE = 16
"""Bytes: fewer than these show no UTF-16."""
_MIN_NULS = 0.2
"""The share of NULs on every second byte that makes a file UTF-16 although it is valid UTF-8 too."""
_NUL_AND_SURROGATES = re.compile("[\0\ud800-\udfff]")
_ESCAPED = re.compile("[\udc80-\udcff]")


def format_of(path: Path) -> str:
    """Return the suffix that names a file's format, in lower case: ``.csv`` for ``pairs.csv.gz``."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading its bytes, decompressed if its name ends in .gz or .zst."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    if suffix == ".zst":
        import pyarrow as pa

        return cast("BinaryIO", pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"))
    return path.open("rb")


def clean(text: str) -> str:
    """Return a text without NULs, and with U+FFFD in place of halves of surrogate pairs."""
    if not _NUL_AND_SURROGATES.search(text):
        return text
    joined = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # halves that belong together
    return joined.replace("\0", "")


@dataclass
class _Evidence:
    """What one pass over a file's bytes shows."""

    size: int = 0
    nuls: list[int] = field(default_factory=lambda: [0, 0])
    """At even and at odd positions."""
    controls: int = 0
    valid: int = 0
    """Characters beyond ASCII in valid UTF-8."""
    invalid: int = 0
    lines: list[int] = field(default_factory=list)
    """The first lines with bytes that are not UTF-8."""
    sample: bytearray = field(default_factory=bytearray)


_CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")


def _evidence(stream: IO[bytes]) -> _Evidence:
    found = _Evidence()
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    line = 1
    while block := stream.read(_BLOCK):
        if b"\0" in block:
            even = block[found.size % 2 :: 2].count(0)
            found.nuls[0] += even
            found.nuls[1] += block.count(0) - even
        found.controls += len(_CONTROLS.findall(block))
        found.size += len(block)
        line = _note_invalid(found, decoder.decode(block), line)
    _note_invalid(found, decoder.decode(b"", final=True), line)
    return found


def _note_invalid(found: _Evidence, text: str, line: int) -> int:
    """Count the characters of a part of a file, keep its doubtful lines, return the next line's number."""
    if not text.isascii():
        invalid = len(_ESCAPED.findall(text))
        found.invalid += invalid
        found.valid += len(text) - len(text.encode("ascii", "ignore")) - invalid
        if invalid and (len(found.lines) < _SHOWN_LINES or len(found.sample) < _SAMPLE_BYTES):
            for number, part in enumerate(text.split("\n"), start=line):
                if not _ESCAPED.search(part):
                    continue
                if len(found.lines) < _SHOWN_LINES:
                    found.lines.append(number)
                if len(found.sample) < _SAMPLE_BYTES:
                    found.sample += part.encode("utf-8", "surrogateescape")[:_SAMPLE_BYTES] + b"\n"
    return line + text.count("\n")


@dataclass(frozen=True)
class _Decision:
    """The encoding of a file, why it was chosen where that is worth a word, and what it cannot decode."""

    name: str
    guessed: bool = False
    replaced: int = 0
    lines: tuple[int, ...] = ()
    nuls: int = 0


def _decide(stream: BinaryIO | IO[bytes], where: str) -> _Decision:
    head = stream.read(_SAMPLE_BYTES)
    stream.seek(0)
    for bom, name in _BOMS.items():
        if head.startswith(bom):
            return _Decision(name)
    found = _evidence(stream)
    stream.seek(0)
    mostly_utf8 = found.valid >= found.invalid
    if wide := _wide(head, found, mostly_utf8=mostly_utf8):
        return _Decision(wide, guessed=True)
    nuls = sum(found.nuls)
    if found.controls - nuls > _MAX_CONTROLS * found.size or nuls > 0.1 * found.size:
        raise UnreadableError("binary file", f"{where} is a binary file; leave it out.")
    if mostly_utf8:
        return _Decision("utf-8", replaced=found.invalid, lines=tuple(found.lines), nuls=nuls)
    name = guess(bytes(found.sample))
    replaced, lines = _undecodable(stream, name)
    if replaced > found.invalid / 2 and nuls:
        raise UnreadableError("binary file", f"{where} is a binary file; leave it out.")
    return _Decision(name, guessed=True, replaced=replaced, lines=lines, nuls=nuls)


def _wide(head: bytes, found: _Evidence, *, mostly_utf8: bool) -> str | None:
    """Return UTF-16 in the order of bytes that makes text of a file without a byte order mark."""
    even, odd = found.nuls
    if not (even or odd) or (mostly_utf8 and max(even, odd) < _MIN_NULS * found.size):
        return None
    name, few = ("utf-16-le", even) if odd > even else ("utf-16-be", odd)
    if few > 0.01 * found.size or found.size < _MIN_WIDE:
        return None
    text = head[: len(head) // 2 * 2].decode(name, "replace")
    strange = sum(unicodedata.category(letter) in ("Cn", "Co", "Cc", "Cs") for letter in text)
    strange -= sum(text.count(letter) for letter in "\t\r\n\f")
    return name if strange + text.count("\ufffd") <= max(1, _MAX_CONTROLS * len(text)) else None


def _undecodable(stream: IO[bytes], name: str) -> tuple[int, tuple[int, ...]]:
    """Return how many characters an encoding cannot decode, and the first lines that hold one."""
    count, lines, line = 0, list[int](), 1
    decoder = codecs.getincrementaldecoder(name)("replace")
    while block := stream.read(_BLOCK):
        text = decoder.decode(block)
        if "\ufffd" in text:
            count += text.count("\ufffd")
            bad = [number for number, part in enumerate(text.split("\n"), start=line) if "\ufffd" in part]
            lines += bad[: _SHOWN_LINES - len(lines)]
        line += text.count("\n")
    stream.seek(0)
    return count, tuple(lines)


def guess(sample: bytes) -> str:
    """Guess the encoding of bytes that are not UTF-8: Windows-1252 unless they clearly say another.

    An encoding is likely if nearly all letters beyond ASCII that it makes of the bytes are those of one
    language, and if the text then is in one of the languages that are written with it.
    """
    western, _ = fit(sample, "cp1252")
    if western >= _WESTERN_FIT and _language_fits(sample, "cp1252"):
        return "cp1252"
    if western < _WESTERN_FIT and (name := east_asian(sample)):
        return name
    fits = {name: fit(sample, name) for name in ALPHABETS}
    likely = [name for name, (share, count) in fits.items() if share >= _CLEAR_FIT and count >= _MIN_LETTERS]
    likely = sorted((name for name in likely if fits[name][0] > western), key=lambda name: -fits[name][0])
    for name in likely:
        if _language_fits(sample, name):
            return name
    return likely[0] if likely and western < _NO_WESTERN_FIT else "cp1252"  # too short to show its language


def _language_fits(sample: bytes, name: str) -> bool:
    """Return whether the text that an encoding makes of bytes is in a language that is written with it."""
    text = sample.decode(name, "replace").replace("\n", " ")
    return any(language_of(text)[0] in codes.split() for codes in ALPHABETS[name])


@cache
def _known(name: str) -> str | None:
    """Return Python's name of an encoding that a page or a person names; None for an unknown one."""
    try:
        found = codecs.lookup(name.strip().lower()).name
    except (LookupError, ValueError):
        return None
    return "cp1252" if found in ("ascii", "iso8859-1") else found  # as browsers read them


def check_encoding(name: str | None, option: str = "dataset.encoding") -> None:
    """Refuse an encoding that does not exist.

    Raises:
        ConfigError: The message names the key and usual values.
    """
    from embexp.errors import ConfigError

    if name is not None and _known(name) is None:
        raise ConfigError(
            f"{option}={name}: there is no such encoding; write one such as utf-8, cp1252, utf-16 or "
            "shift_jis, or null to let the bytes decide."
        )


def _said(problems: Problems, where: str, decision: _Decision) -> None:
    """Log a guess, and count the bytes that are replaced or removed."""
    if decision.guessed and not problems.quiet:
        log.warning(
            "%s is not UTF-8: read as %s, which its bytes suggest (%s=… says which it is).",
            *(where, decision.name, problems.encoding_option),
        )
    if decision.replaced:
        lines = ", ".join(map(str, decision.lines))
        more = ", …" if len(decision.lines) >= _SHOWN_LINES else ""
        problems.mend(
            f"byte that is not {decision.name} replaced",
            f"{where}: {counted(decision.replaced, 'byte')} not in {decision.name}, replaced by \ufffd (line "
            f"{lines}{more}); correct the file, or name another encoding with {problems.encoding_option}.",
            times=decision.replaced,
        )
    if decision.nuls:
        problems.mend(
            "NUL character removed",
            f"{where}: {counted(decision.nuls, 'NUL character')} removed; delete such characters.",
            times=decision.nuls,
        )


def open_text(
    path: Path, problems: Problems | None = None, *, encoding: str | None = None, newline: str | None = None
) -> IO[str]:
    """Open a text file for reading, decompressed and decoded; NULs are still in it.

    Args:
        path: The file.
        problems: Counts what is replaced; None logs and counts nothing.
        encoding: The encoding; None lets the bytes decide.
        newline: As in ``open``.

    Raises:
        UnreadableError: The file is binary, or its compression is broken.
        DataError: Bytes have to be replaced and ``on_error`` is ``fail``.
    """
    problems = problems or Problems()
    name = encoding and _known(encoding)
    try:
        if not name:
            with _seekable(path) as stream:
                decision = _decide(stream, str(path))
        else:
            with _seekable(path) as stream:
                replaced, lines = _undecodable(stream, name)
            decision = _Decision(name, replaced=replaced, lines=lines)
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        if path.suffix.lower() not in COMPRESSIONS or isinstance(error, FileNotFoundError | PermissionError):
            raise
        message = f"{path} cannot be decompressed ({error or 'it ends too early'}); compress it again."
        raise UnreadableError("broken compressed file", message) from error
    _said(problems, str(path), decision)
    return io.TextIOWrapper(_seekable(path), decision.name, errors="replace", newline=newline)


class _Again(io.RawIOBase):
    """A file that cannot be read from another position: it is opened again to return to its beginning."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = open_binary(path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def seek(self, offset: int, whence: int = 0) -> int:
        if offset or whence:
            raise io.UnsupportedOperation("only to the beginning")
        self._stream.close()
        self._stream = open_binary(self._path)
        return 0

    def close(self) -> None:
        self._stream.close()
        super().close()


def _seekable(path: Path) -> BinaryIO:
    """Open a file so that it can be read from its beginning again, without keeping it in memory."""
    stream = open_binary(path)
    if stream.seekable():
        return stream
    stream.close()
    return cast("BinaryIO", io.BufferedReader(_Again(path), _BLOCK))


def decode(
    raw: bytes,
    where: str,
    problems: Problems | None = None,
    *,
    encoding: str | None = None,
    declared: str | None = None,
) -> str:
    """Return the text of bytes, without NULs.

    Args:
        raw: The bytes.
        where: Their file, for messages.
        problems: Counts what is replaced.
        encoding: The encoding that the user names; None lets the bytes decide.
        declared: The encoding that a page declares; it counts unless the bytes contradict it.

    Raises:
        UnreadableError: The bytes are no text.
        DataError: Bytes have to be replaced and ``on_error`` is ``fail``.
    """
    problems = problems or Problems()
    named = _known(encoding) if encoding else None
    if named is None and declared:
        named = _settled(raw, where, declared, problems)
    if named:
        replaced, lines = _undecodable(io.BytesIO(raw), named)
        decision = _Decision(named, replaced=replaced, lines=lines)
    else:
        decision = _decide(io.BytesIO(raw), where)
    _said(problems, where, decision)
    return clean(raw.decode(decision.name, "replace"))


def text_of_bytes(raw: bytes, where: str, problems: Problems) -> str | bytes:
    """Return the text that a binary value of a table holds, or the bytes themselves if they are no text."""
    try:
        return clean(raw.decode("utf-8")) if b"\0" not in raw else decode(raw, where, problems)
    except UnicodeDecodeError:
        try:
            return decode(raw, where, problems)
        except UnreadableError:
            return raw
    except UnreadableError:
        return raw


def _settled(raw: bytes, where: str, declared: str, problems: Problems) -> str | None:
    """Return the declared encoding if the bytes agree, or None to let the bytes decide, and say so."""
    name = _known(declared)
    boms = [found for bom, found in _BOMS.items() if raw.startswith(bom)]
    if boms or name in ("utf-8", None) or (name.startswith("utf-16") and b"\0" not in raw):
        return None  # the bytes decide as well, and say so where they are not UTF-8
    if raw.isascii():
        return name
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return name if _undecodable(io.BytesIO(raw), name)[0] == 0 else None
    if not problems.quiet:
        log.warning("%s declares %s and is UTF-8: read as UTF-8; correct its charset.", where, declared)
    return "utf-8"


def lines_of(stream: IO[str], path: Path, problems: Problems) -> Iterator[str]:
    """Yield the lines of an open text file without NULs; an empty one in place of one that is too long.

    Args:
        stream: The file.
        path: Its path, for messages.
        problems: Counts lines that are too long to be kept in memory.

    Raises:
        DataError: A line is too long and ``on_error`` is ``fail``.
    """
    number = 0
    while line := stream.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and line[-1] not in "\r\n":
            while line and line[-1] not in "\r\n":
                line = stream.readline(_LONGEST_LINE)
            message = f"{path}:{number}: this line has more than {_LONGEST_LINE:,} characters; divide it."
            problems.report("line too long", message)
            line = "\n"
        yield line.replace("\0", "") if "\0" in line else line
