"""How files are read: what every reader gets beside the path."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from embexp.data.readers.encoding import open_binary
from embexp.data.readers.problems import Problems
from embexp.data.readers.sizes import MAX_MB
from embexp.data.records import Document


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the readers of all formats share.

    Args:
        problems: Counts what is left out or mended.
        encoding: The encoding of text files; None lets the bytes decide.
        password: Opens encrypted PDFs; None for files without one.
        main_content: Leave navigation and other boilerplate of web pages out.
        page_lines: Keep the running headers and footers of pages.
        max_mb: The most megabytes of text in one file, unpacked.
    """

    problems: Problems = field(default_factory=lambda: Problems(quiet=True))
    encoding: str | None = None
    password: str | None = field(default=None, repr=False)
    main_content: bool = True
    page_lines: bool = False
    max_mb: int = MAX_MB


Reader = Callable[[Path, Reading], Iterator[Document]]
"""Reads a file: a path in, documents out."""


def stream_of(path: Path) -> io.BytesIO:
    """Return a file's bytes, decompressed, as a stream that can be read from any position."""
    with open_binary(path) as stream:
        return io.BytesIO(stream.read())
