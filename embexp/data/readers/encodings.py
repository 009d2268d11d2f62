"""How a text file is encoded: UTF-8 if it can be, else the best guess, said aloud."""

from __future__ import annotations

import codecs
import logging
from pathlib import Path

from embexp.errors import DataError

log = logging.getLogger(__name__)


BLOCK = 1 << 20
AROUND = 1 << 15
BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class BinaryFileError(DataError):
    """A file that holds bytes, not text."""


def encoding_of(path: Path) -> str:
    """Return the name of a text file's encoding, reading it in blocks.

    Raises:
        BinaryFileError: The file holds NUL bytes, or no encoding makes text of it.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as stream:
        block = stream.read(BLOCK)
        for bom, name in BOMS.items():
            if block.startswith(bom):
                return name
        while block:
            if b"\0" in block:
                raise BinaryFileError(f"{path} is a binary file; leave it out with dataset.exclude.")
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                return _guess(path, block[max(error.start - AROUND, 0) : error.start + AROUND])
            block = stream.read(BLOCK)
    return "utf-8"


def _guess(path: Path, sample: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(sample).best()
    if best is None:
        raise BinaryFileError(
            f"{path} is neither UTF-8 nor any encoding that can be guessed; save it as UTF-8."
        )
    log.warning("%s is not UTF-8: read as %s, a guess. Save it as UTF-8 to be sure.", path, best.encoding)
    return best.encoding


def read_text(path: Path) -> str:
    """Return a text file's content with ``\\n`` line ends.

    Raises:
        BinaryFileError: The file is not text.
    """
    return path.read_text(encoding=encoding_of(path), errors="replace")
