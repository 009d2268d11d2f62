"""The documentation of the installed Python and its packages: real text without a download."""

from __future__ import annotations

import difflib
import importlib.util
import logging
import pkgutil
import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from embexp.data.datasets.python_docstrings import Entry, Module, Namespace, compiled, is_private, parse
from embexp.data.labels import LabelSettings
from embexp.data.readers.text import first_sentence, is_query, occurs_in, one_line
from embexp.data.records import Document, Pair, Unit
from embexp.data.sampling import sample
from embexp.errors import ConfigError
from embexp.progress import track
from embexp.ranges import Count, CountOrZero, check_ranges
from embexp.storage.files import sha256_of, sha256_of_file

log = logging.getLogger(__name__)


# Tests and demonstrations are not documentation; readline changes the terminal when it is imported.
_LEFT_OUT = {"antigravity", "this", "idlelib", "lib2to3", "turtledemo", "pydoc_data", "readline"}
_LEFT_OUT |= {"test", "tests", "conftest"}
_SIGNATURE = re.compile(r"[\w.]+\(.*\)(\s*-+>.*)?$")
_UNDERLINED = re.compile(r"^(\S.*)\n[-=~]{3,}[ \t]*$", re.MULTILINE)


@dataclass(kw_only=True)
class PyDocs:
    """A document for each public module, class, function and method that has a docstring.

    The first sentence of the docstring is the document's summary: it is in ``metadata["summary"]`` and not in
    the text. Source is read, not run; only the standard library's compiled modules are imported.

    Args:
        packages: Import names of installed packages to add ("numpy").
        stdlib: Read the standard library.
        min_words: A document with fewer words beside its call and summary keeps the summary in its text: it
            can be found, and yields no query.
        limit: At most this many documents, spread evenly; None for all.
        name: The name in tables and file names.
    """

    packages: list[str] = field(default_factory=list)
    stdlib: bool = True
    min_words: CountOrZero = 8
    limit: Count | None = None
    name: str = "pydocs"
    unit: Unit = field(default="document", init=False)
    labels: LabelSettings = field(default_factory=LabelSettings, init=False)

    def __post_init__(self) -> None:
        check_ranges(self, "dataset")
        if not self.stdlib and not self.packages:
            raise ConfigError(
                "dataset.stdlib=false leaves nothing to read: name some in dataset.packages=[…]."
            )

    @property
    def source(self) -> str:
        """The packages that are read."""
        return ", ".join(["python"] * self.stdlib + self.packages)

    def fingerprint(self) -> str:
        """Return a digest of the settings, Python's version and the packages' source files.

        Raises:
            ConfigError: A package is not installed.
        """
        files = [
            (module, sha256_of_file(path))
            for package in self.packages
            for module, path in sorted(_package_files(package).items())
        ]
        return sha256_of("pydocs", asdict(self), sys.version, files)

    def documents(self) -> Iterator[Document]:
        """Yield the documents, sorted by qualified name within the standard library and each package.

        Raises:
            ConfigError: A package is not installed.
        """
        documents = sample(self._distinct(), self.limit, key=lambda document: document.id)
        count = 0
        for document in documents:
            count += 1
            yield document
        log.info("Python documentation: %s documents", f"{count:,}")

    def labelled(self) -> Iterator[Pair]:
        """Yield nothing: documentation has no judged pairs."""
        return iter(())

    def _distinct(self) -> Iterator[Document]:
        """Yield each text once: an inherited or copied docstring belongs to the first that has it."""
        seen: set[str] = set()
        for public, entry in self._entries():
            document = _document(public, entry, self.min_words)
            if document is None:
                continue
            digest = sha256_of(one_line(entry.doc))
            if digest not in seen and f"id {public}" not in seen:
                seen.update((digest, f"id {public}"))
                yield document

    def _entries(self) -> Iterator[tuple[str, Entry]]:
        if self.stdlib:
            yield from _read(_stdlib_files(), stdlib=True)
        for package in self.packages:
            yield from _read(_package_files(package), stdlib=False)


def _read(files: dict[str, Path], *, stdlib: bool) -> Iterator[tuple[str, Entry]]:
    binary = set(sys.stdlib_module_names) - _LEFT_OUT - set(files) if stdlib else set()

    @cache
    def load(name: str) -> Module | None:
        try:
            if name in files:
                return parse(files[name], name)
            return compiled(name) if name in binary else None
        except (SyntaxError, ValueError, ImportError, RecursionError) as error:
            log.debug("%s is left out: %s", name, error)
            return None

    modules = [name for name in sorted({*files, *binary}) if not is_private(name)]
    for name in track(modules, "Reading modules", total=len(modules)):
        load(name)
    yield from Namespace(modules, load).entries()


def _document(public: str, entry: Entry, min_words: int) -> Document | None:
    """Build the document of an object, or None if its docstring is empty or one word.

    The summary is cut out as the document's query if enough text is left.
    """
    call, doc = entry.call, entry.doc.strip()
    first, _, rest = doc.partition("\n")
    if _SIGNATURE.match(first):
        call, doc = first, rest.strip()
    paragraph, _, others = doc.partition("\n\n")
    summary, remainder = first_sentence(paragraph)
    body = _UNDERLINED.sub(r"\1:", "\n\n".join(part for part in (remainder, others.strip("\n")) if part))
    text = f"{call}\n\n{body}" if call else body
    source = public.partition(".")[0]
    if len(body.split()) < min_words or not is_query(summary) or occurs_in(summary, text):
        whole = f"{call}\n\n{doc}" if call else doc
        return Document(public, whole, public, source) if len(doc.split()) > 1 else None
    return Document(public, text, public, source, {"summary": summary})


def _stdlib_files() -> dict[str, Path]:
    """Return the standard library's modules with Python source, private ones too."""
    root = Path(sysconfig.get_path("stdlib"))
    modules: dict[str, Path] = {}
    for name in sorted(sys.stdlib_module_names - _LEFT_OUT):
        if (root / f"{name}.py").is_file():
            modules[name] = root / f"{name}.py"
        elif (root / name / "__init__.py").is_file():
            modules.update(_modules_below(root / name, name))
    return modules


def _modules_below(folder: Path, name: str) -> dict[str, Path]:
    """Return a package's modules by full name; test folders are left out."""
    modules: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.py")):
        parts = list(path.relative_to(folder).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        if not _LEFT_OUT.intersection(parts) and all(part.isidentifier() for part in parts):
            modules[".".join([name, *parts])] = path
    return modules


def _package_files(package: str) -> dict[str, Path]:
    """Return an installed package's modules by full name, located without importing it.

    Raises:
        ConfigError: It is not installed, or has no Python source.
    """
    top, *below = package.split(".")
    spec = importlib.util.find_spec(top) if top.isidentifier() else None
    if spec is None:
        names = [module.name for module in pkgutil.iter_modules()]
        near = difflib.get_close_matches(package.replace("-", "_"), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"dataset.packages: {package!r} is not installed.{hint} Give import names, not those of "
            f"distributions, and install them first (pip install {package})."
        )
    files: dict[str, Path] = {}
    for location in spec.submodule_search_locations or []:
        part = Path(location).joinpath(*below)
        files.update(_modules_below(part, package))
        if part.with_suffix(".py").is_file():
            files[package] = part.with_suffix(".py")
    if not files and not below and spec.origin and spec.origin.endswith(".py"):
        files[package] = Path(spec.origin)
    if not files:
        raise ConfigError(f"dataset.packages: {package!r} has no Python source to read; leave it out.")
    return files
