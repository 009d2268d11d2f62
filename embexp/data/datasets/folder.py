"""The files below a folder as documents, read one at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from embexp.data.labels import LabelSettings
from embexp.data.readers.markup import read_html, read_rst
from embexp.data.readers.office import read_docx, read_pdf
from embexp.data.readers.problems import OnError, Problems, UnreadableError
from embexp.data.readers.tables import SUFFIXES, DocumentColumns, read_table
from embexp.data.readers.text import read_markdown, read_plain
from embexp.data.records import Document, Pair, Unit
from embexp.data.sampling import check_limit, sample
from embexp.errors import DataError
from embexp.progress import track
from embexp.storage.files import sha256_of, sha256_of_file

log = logging.getLogger(__name__)


READERS: dict[str, Callable[[Path], Iterator[Document]]] = {
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".txt": read_plain,
    ".rst": read_rst,
    ".html": read_html,
    ".htm": read_html,
    ".pdf": read_pdf,
    ".docx": read_docx,
}
_FORMATS = ", ".join((*READERS, *SUFFIXES))


@dataclass(kw_only=True)
class Folder:
    """Documents from the files under a folder, or from one file.

    Args:
        path: The folder, or a single file.
        include: Globs on the path below the folder ("guides/*", "*.md"); empty takes every known format.
            A ``*`` matches slashes too.
        exclude: Globs of files to leave out, on top of hidden ones.
        on_error: ``skip`` leaves unreadable files and rows out and counts them; ``fail`` stops at the first.
        text_column: The column of csv, jsonl and parquet files that holds a document's text.
        title_column: The column that holds its title; may be missing.
        id_column: The column that names it within its file; may be missing.
        limit: At most this many documents, spread evenly; None for all.
        name: The name in tables and file names.
    """

    path: str
    include: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    on_error: OnError = "skip"
    text_column: str = "text"
    title_column: str = "title"
    id_column: str = "id"
    limit: int | None = None
    name: str = "folder"
    unit: Unit = field(default="chunk", init=False)
    labels: LabelSettings = field(default_factory=LabelSettings, init=False)

    def __post_init__(self) -> None:
        check_limit("limit", self.limit)

    @property
    def source(self) -> str:
        """The folder or file."""
        return self.path

    def fingerprint(self) -> str:
        """Return a digest of the settings and of every file's name and content.

        Raises:
            DataError: The path does not exist.
        """
        settings = {key: value for key, value in asdict(self).items() if key != "path"}
        files = [(name, sha256_of_file(file)) for name, file in self._files(Problems())]
        return sha256_of("folder", settings, files)

    def documents(self) -> Iterator[Document]:
        """Yield the documents, files in the order of their paths, and log what was skipped.

        Raises:
            DataError: The path does not exist, nothing in it can be read, or a file is bad and
                ``on_error`` is ``fail``.
        """
        problems = Problems(self.on_error)
        count = 0
        for document in sample(self._read_all(problems), self.limit, key=lambda document: document.id):
            count += 1
            yield document
        if not count:
            skipped = problems.summary()
            raise DataError(
                f"{self.path}: no document with text in it{f' (skipped: {skipped})' if skipped else ''}. "
                f"Put files there ({_FORMATS}), or check dataset.path, "
                "dataset.include and dataset.exclude."
            )
        problems.close(f"{self.path}: {count:,} documents")

    def labelled(self) -> Iterator[Pair]:
        """Yield nothing: files have no judged pairs."""
        return iter(())

    def _read_all(self, problems: Problems) -> Iterator[Document]:
        columns = DocumentColumns(text=self.text_column, title=self.title_column, id=self.id_column)
        table = partial(read_table, columns=columns, problems=problems)
        files = list(self._files(problems))
        for name, file in track(files, "Reading files", total=len(files)):
            reader = READERS.get(file.suffix.lower(), table)
            try:
                for document in reader(file):
                    if document.text:
                        renamed = name + document.id.removeprefix(file.name)
                        yield replace(document, id=renamed, source=name)
                    else:
                        problems.count("file without text")
            except OSError as error:
                problems.report("unreadable file", f"{file}: {error.strerror}; check its permissions.")
            except DataError as error:
                if isinstance(error, UnreadableError):
                    problems.report(error.reason, str(error))
                elif self.on_error == "fail":
                    raise
                else:
                    problems.report("unreadable table", str(error))

    def _files(self, problems: Problems) -> Iterator[tuple[str, Path]]:
        root = Path(self.path).expanduser()
        if root.is_file():
            if not _known(root):
                raise DataError(f"{self.path}: no known format; give a file of {_FORMATS}.")
            yield root.name, root
            return
        if not root.is_dir():
            raise DataError(f"{self.path} does not exist: check dataset.path for a typing error.")
        for file in _walk(root, problems):
            name = file.relative_to(root).as_posix()
            if not _matches(name, self.include or ["*"]) or _matches(name, self.exclude):
                problems.count("left out by include or exclude")
            elif not _known(file):
                problems.count(f"of no known format ({file.suffix.lower() or 'no suffix'})")
            else:
                yield name, file


def _walk(root: Path, problems: Problems) -> Iterator[Path]:
    """Yield each file below a folder once, sorted; hidden files and loops of links are left out."""
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        if os.path.realpath(folder) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(folder))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            real = os.path.realpath(file)
            if name.startswith("."):
                problems.count("hidden")
            elif not file.is_file():
                problems.count("broken link or special file")
            elif real in seen:
                problems.count("second link to the same file")
            else:
                seen.add(real)
                yield file


def _known(file: Path) -> bool:
    return file.suffix.lower() in READERS or file.suffix.lower() in SUFFIXES


def _matches(name: str, globs: list[str]) -> bool:
    return any(fnmatch(name, glob) or fnmatch(f"/{name}", glob) for glob in globs)
