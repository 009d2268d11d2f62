"""The files below a folder as documents, read one at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Interval

from embexp.data.datasets.folder_questions import FolderQuestions
from embexp.data.labels import LabelSettings
from embexp.data.readers.encoding import check_encoding, format_of
from embexp.data.readers.epub import read_epub
from embexp.data.readers.html import read_html
from embexp.data.readers.mail import read_mail
from embexp.data.readers.markdown import read_markdown, read_mdx, read_notebook
from embexp.data.readers.markup import read_asciidoc, read_rst
from embexp.data.readers.office import read_odf, read_pptx, read_xlsx
from embexp.data.readers.pdf import read_pdf
from embexp.data.readers.problems import OnError, Problems, UnreadableError, printable
from embexp.data.readers.reading import Reader, Reading
from embexp.data.readers.sizes import MAX_MB, check_size, most_mb
from embexp.data.readers.tables import SUFFIXES, DocumentColumns, read_table
from embexp.data.readers.text import read_plain
from embexp.data.readers.word import read_docx
from embexp.data.records import Document, Pair, Unit
from embexp.data.repeated_lines import without_repeated_lines
from embexp.data.sampling import sample
from embexp.errors import DataError
from embexp.progress import track
from embexp.ranges import Count, check_ranges
from embexp.storage.files import sha256_of, sha256_of_file

log = logging.getLogger(__name__)


READERS: dict[str, Reader] = {
    **dict.fromkeys((".md", ".markdown"), read_markdown),
    ".mdx": read_mdx,
    ".ipynb": read_notebook,
    ".txt": read_plain,
    ".rst": read_rst,
    **dict.fromkeys((".adoc", ".asciidoc"), read_asciidoc),
    **dict.fromkeys((".html", ".htm", ".xhtml"), read_html),
    ".pdf": read_pdf,
    ".docx": read_docx,
    ".pptx": read_pptx,
    ".xlsx": read_xlsx,
    **dict.fromkeys((".odt", ".odp", ".ods"), read_odf),
    ".epub": read_epub,
    ".eml": read_mail,
}
_FORMATS = ", ".join((*READERS, *SUFFIXES))
_SKIPPED_FOLDERS = frozenset(
    (
        *("node_modules", "bower_components", "__pycache__", "__pypackages__", "site-packages", "dist-info"),
        *("venv", "virtualenv", "build", "dist", "target", "_build"),
    )
)
"""Folders of packages and build results; hidden ones, such as .git and .venv, are skipped too."""
_LEAVES = "link out of the folder, which dataset.follow_links=true would follow"


@dataclass(kw_only=True)
class Folder:
    """Documents from the files under a folder, or from one file.

    Args:
        path: The folder, or a single file.
        include: Globs on the path below the folder ("guides/*", "*.md"); empty takes every known format.
            A ``*`` matches slashes too. Folders of packages and build results (node_modules, build) are read
            only if a glob names them ("build/*").
        exclude: Globs of files to leave out, on top of hidden ones.
        on_error: ``skip`` leaves unreadable files and rows out and counts them; ``fail`` stops at the first.
        text_column: The column of csv, jsonl and parquet files that holds a document's text.
        title_column: The column that holds its title; may be missing.
        id_column: The column that names it within its file; may be missing.
        encoding: The encoding of text files ("cp1252"); None lets the bytes of each file decide.
        password: Opens encrypted PDFs.
        main_content: Leave navigation, footers and other boilerplate of web pages out.
        follow_links: Read what symbolic links outside the folder point to, too.
        max_file_mb: The most megabytes of text in one file, unpacked; files with pictures may have eight
            times as many. Tables in lines are streamed and may have any size.
        repeated_lines: ``drop`` leaves out lines that most of the documents repeat, such as navigation and
            footers, and the running headers of PDFs; ``keep`` keeps them.
        limit: At most this many documents, spread evenly; those that answer a question of the table are
            always kept. None for all.
        questions: A table of people's questions and of the files that answer them; None for none. A file is
            named by its path or the end of it, in any case, with or without its extension; several are a
            list, or text with ``;`` between them. Of a file with several passages, training reads the one
            that shares most words with the question.
        questions_for: ``train`` divides the questions by document into train, dev and test; ``test`` trains
            on none of them.
        question_column: The column of the question; other common names are recognised.
        file_column: The column of its files, likewise.
        clicks_column: How often the files of the row were chosen, likewise; each row counts once without it.
        min_clicks: Files that were chosen less often than this, over all rows, are left out.
        name: The name in tables and file names.
    """

    path: str
    include: list[str] = field(default_factory=list)
    exclude: list[str] = field(default_factory=list)
    on_error: OnError = "skip"
    text_column: str = "text"
    title_column: str = "title"
    id_column: str = "id"
    encoding: str | None = None
    password: str | None = field(default=None, repr=False)
    main_content: bool = True
    follow_links: bool = False
    max_file_mb: Annotated[int, Interval(ge=1, le=1_000_000)] = MAX_MB
    repeated_lines: Literal["drop", "keep"] = "drop"
    limit: Count | None = None
    questions: str | None = None
    questions_for: Literal["train", "test"] = "train"
    question_column: str = "text"
    file_column: str = "relevant"
    clicks_column: str = "clicks"
    min_clicks: Count = 1
    name: str = "folder"
    unit: Unit = field(default="chunk", init=False)
    labels: LabelSettings = field(default_factory=LabelSettings, init=False)

    def __post_init__(self) -> None:
        check_ranges(self, "dataset")
        check_encoding(self.encoding)
        if self.questions is not None:
            self.unit = "document"

    @property
    def source(self) -> str:
        """The folder or file."""
        return self.path

    def fingerprint(self) -> str:
        """Return a digest of the settings and of every file's name and content.

        Raises:
            DataError: The path does not exist, or the table of questions cannot be used.
        """
        settings = {key: value for key, value in asdict(self).items() if key not in ("path", "questions")}
        files = [(name, _digest(file)) for name, file in self._files(Problems())]
        asked = self._questions()
        if asked is None:
            return sha256_of("folder", settings, files)
        next(asked.pairs([name for name, _ in files], quiet=True), None)  # a mistake in it ends the run early
        return sha256_of("folder", settings, files, asked.fingerprint())

    def documents(self) -> Iterator[Document]:
        """Yield the documents, files in the order of their paths, and log what was skipped.

        Raises:
            DataError: The path does not exist, nothing in it can be read, or a file is bad and
                ``on_error`` is ``fail``.
        """
        problems = Problems(self.on_error)
        count = 0
        documents = self._read_all(problems)
        if self.repeated_lines == "drop":
            keeps = "dataset.repeated_lines=keep"
            documents = without_repeated_lines(documents, place=self.path, option=keeps, most=self.limit)
        for document in sample(documents, self.limit, lambda document: document.id, self._answers()):
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
        """Yield the questions of the table with the files that answer them; nothing without a table.

        The pairs name documents and have no passage yet (``embexp.data.passages``).

        Raises:
            DataError: The table cannot be used.
        """
        asked = self._questions()
        return asked.pairs([name for name, _ in self._files(Problems(quiet=True))]) if asked else iter(())

    def _questions(self) -> FolderQuestions | None:
        """Return the table of questions as it is to be read; None without one."""
        if self.questions is None:
            return None
        return FolderQuestions(
            path=self.questions,
            text_column=self.question_column,
            relevant_column=self.file_column,
            clicks_column=self.clicks_column,
            min_clicks=self.min_clicks,
            encoding=self.encoding,
            on_error=self.on_error,
            test_only=self.questions_for == "test",
        )

    def _answers(self) -> frozenset[str]:
        """Return the documents that a sample must have: those that the table of questions names."""
        asked = self._questions()
        if asked is None or self.limit is None:
            return frozenset()
        names = [name for name, _ in self._files(Problems(quiet=True))]
        return frozenset(pair.document_id for pair in asked.pairs(names, quiet=True))

    def _read_all(self, problems: Problems) -> Iterator[Document]:
        columns = DocumentColumns(text=self.text_column, title=self.title_column, id=self.id_column)
        table = partial(read_table, columns=columns, problems=problems, encoding=self.encoding)
        reading = Reading(
            problems=problems,
            encoding=self.encoding,
            password=self.password,
            main_content=self.main_content,
            page_lines=self.repeated_lines == "keep",
            max_mb=self.max_file_mb,
        )
        files = list(self._files(problems))
        for name, file in track(files, "Reading files", total=len(files)):
            documents = _documents(file, name, reading, table)
            for document in self._guarded(documents, file, problems):
                if document.text.strip():
                    yield replace(document, id=name + document.id.removeprefix(file.name), source=name)
                else:
                    problems.count("file without text", name)

    def _guarded(self, documents: Iterator[Document], file: Path, problems: Problems) -> Iterator[Document]:
        """Yield a file's documents; what goes wrong in it costs that file alone, or the rest of it."""
        while True:
            document = None
            try:
                with problems.guard(str(file)):
                    document = next(documents, None)
            except DataError as error:
                if self.on_error == "fail":
                    raise
                problems.report("unreadable table", str(error))
            if document is None:
                return
            yield document

    def _files(self, problems: Problems) -> Iterator[tuple[str, Path]]:
        root = Path(self.path).expanduser()
        if root.is_file():
            if not _known(root):
                raise DataError(f"{self.path}: no known format; give a file of {_FORMATS}.")
            yield printable(root.name), root
            return
        if not root.is_dir():
            raise DataError(f"{self.path} does not exist: check dataset.path for a typing error.")
        table = str(Path(self.questions).expanduser().resolve()) if self.questions else ""
        for file in _walk(root, problems, self.include, follow_links=self.follow_links):
            name = printable(file.relative_to(root).as_posix())
            if str(file.resolve()) == table:
                problems.count("table of questions", name)
            elif not _matches(name, self.include or ["*"]) or _matches(name, self.exclude):
                problems.count("left out by include or exclude", name)
            elif not _known(file):
                problems.count(f"of no known format ({file.suffix.lower() or 'no suffix'})", name)
            else:
                yield name, file


def _documents(
    file: Path, name: str, reading: Reading, table: Callable[[Path], Iterator[Document]]
) -> Iterator[Document]:
    """Read a file when its first document is asked for; an empty one is counted.

    Raises:
        UnreadableError: The file may not be read, or its reader gives up.
    """
    try:
        suffix = format_of(file)
        reader = READERS.get(suffix)
        if not file.stat().st_size:
            reading.problems.count("empty file", name)
        elif reader:
            check_size(file, most_mb(suffix, reading.max_mb))
            yield from reader(file, reading)
        else:
            yield from table(file)
    except PermissionError as error:
        message = f"{file}: {error.strerror}; check its permissions."
        raise UnreadableError("unreadable file", message) from error


def _digest(file: Path) -> str:
    """Return the digest of a file's content; a file that may not be read has none, and is skipped later."""
    try:
        return sha256_of_file(file)
    except OSError:
        return ""


def _walk(root: Path, problems: Problems, include: list[str], *, follow_links: bool) -> Iterator[Path]:
    """Yield each file below a folder once, sorted; hidden files and loops of links are left out."""
    seen: set[str] = set()
    top = Path(os.path.realpath(root))
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        if not follow_links and not Path(real).is_relative_to(top):
            problems.count(_LEAVES, Path(folder).relative_to(root).as_posix())
            folders.clear()
            continue
        seen.add(real)
        folders[:] = _entered(root, Path(folder), folders, problems, include)
        for name in sorted(files):
            file = Path(folder, name)
            real = os.path.realpath(file)
            if name.startswith("."):
                problems.count("hidden", name)
            elif not follow_links and not Path(real).is_relative_to(top):
                problems.count(_LEAVES, file.relative_to(root).as_posix())
            elif not file.is_file():
                problems.count("broken link or special file", name)
            elif real in seen:
                problems.count("second link to the same file", name)
            else:
                seen.add(real)
                yield file


def _entered(root: Path, folder: Path, names: list[str], problems: Problems, include: list[str]) -> list[str]:
    """Return the folders to read, and count hidden ones and those of packages and build results."""
    entered: list[str] = []
    for name in sorted(names):
        path = (folder / name).relative_to(root).as_posix()
        named = any(name in glob.split("/") for glob in include)
        if name.startswith(".") and not named:
            problems.count("hidden folder", path)
        elif name in _SKIPPED_FOLDERS and not named:
            problems.count("folder that dataset.include does not name", path)
        else:
            entered.append(name)
    return entered


def _known(file: Path) -> bool:
    return format_of(file) in READERS or format_of(file) in SUFFIXES


def _matches(name: str, globs: list[str]) -> bool:
    return any(fnmatch(name, glob) or fnmatch(f"/{name}", glob) for glob in globs)
