"""Code of the user's: which modules are theirs, a digest of their source, and whose mistake an error is.

A module is the user's if it is neither embexp's nor Python's and not installed among packages
(``site-packages``); a package that is installed in editable mode counts as the user's.
"""

from __future__ import annotations

import ast
import inspect
import logging
import reprlib
import sys
import sysconfig
import traceback
import uuid
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeVar

from embexp.errors import EmbexpError
from embexp.storage.files import sha256_of, sha256_of_file

log = logging.getLogger(__name__)
T = TypeVar("T")

_PACKAGE = Path(__file__).resolve().parent
_FOLDERS_OF_PACKAGES = frozenset({"site-packages", "dist-packages"})
_NOTEBOOK_MARKS = ("<ipython-input", "ipykernel_")
"""What the files of a notebook's cells are called."""


class UserCodeError(EmbexpError):
    """A mistake in a module of the user's; the message names file and line."""


class Fingerprinted(Protocol):
    """A component that says what it depends on."""

    def fingerprint(self) -> str:
        """Return a digest of what shapes the results and is not in the settings."""


def identity(component: Fingerprinted) -> str:
    """Return a component's fingerprint, which for a class of the user's covers its source, too."""
    source = source_digest(type(component))
    return component.fingerprint() if source is None else sha256_of(component.fingerprint(), source)


def source_digest(target: object) -> str | None:
    """Return a digest of the source of a class or function: of its module and of those that it imports.

    Only modules of the user's count, those inside functions, too. What a module imports by a name that it
    computes is not seen.

    Args:
        target: A class or a function.

    Returns:
        The digest; None for a target that is not the user's.
    """
    name = getattr(target, "__module__", None) or ""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None:
        return _digest_without_file(target) if name == "__main__" else None
    if not is_users(file):
        return None
    return sha256_of(
        sorted((name, sha256_of_file(path)) for name, path in _imported(name, Path(file)).items())
    )


def is_users(file: str | Path) -> bool:
    """Return whether a source file is the user's: not embexp's, not Python's, and not of a package."""
    text = str(file)
    if any(mark in text for mark in _NOTEBOOK_MARKS):
        return True
    if text.startswith("<"):
        return False
    path = Path(text).resolve()
    if _FOLDERS_OF_PACKAGES & set(path.parts):
        return False
    return not any(path.is_relative_to(folder) for folder in _not_users())


@cache
def _not_users() -> tuple[Path, ...]:
    plugins = _PACKAGE.parent / "hydra_plugins" / "embexp_optuna"
    python = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    return (_PACKAGE, plugins, *python)


def _digest_without_file(target: object) -> str:
    """Return a digest of the source of a class in a notebook; without one, a digest that never recurs."""
    try:
        return sha256_of(inspect.getsource(target))  # type: ignore[arg-type]
    except (OSError, TypeError):
        log.warning(
            "The source of %s cannot be read, so nothing that depends on it is taken from the cache: define "
            "it in a file.",
            getattr(target, "__qualname__", target),
        )
        return uuid.uuid4().hex


def _imported(name: str, file: Path) -> dict[str, Path]:
    """Return name -> file of a module of the user's and of all those of theirs that it imports, in turn."""
    found: dict[str, Path] = {}
    waiting = [(name, file)]
    while waiting:
        name, file = waiting.pop()
        if name in found:
            continue
        found[name] = file
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for wanted in {*_parents(name), *_names_imported(file, package)}:
            if wanted not in found and (path := _file_of(wanted)):
                waiting.append((wanted, path))
    return found


def _parents(name: str) -> list[str]:
    """Return the packages that a module is in, whose ``__init__`` runs when it is imported."""
    parts = name.split(".")
    return [".".join(parts[:at]) for at in range(1, len(parts))]


def _names_imported(file: Path, package: str) -> Iterator[str]:
    """Yield the modules that a file may import, wherever in it: ``from a import b`` may mean a or a.b."""
    if file.suffix != ".py":
        return
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError):  # its import, which follows or has failed, says so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name for alias in node.names for name in [*_parents(alias.name), alias.name])
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield from _parents(base)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _file_of(name: str) -> Path | None:
    """Return the file of a module of the user's; nothing is imported to find it."""
    first, *rest = name.split(".")
    if not first or first in sys.stdlib_module_names or first == "embexp":
        return None
    spec = _spec(first)
    for at in range(len(rest)):
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(".".join([first, *rest[: at + 1]]), list(spec.submodule_search_locations))
    if spec is None or not spec.has_location or spec.origin is None or not is_users(spec.origin):
        return None
    return Path(spec.origin)


def _spec(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except (ImportError, ValueError):  # a module without a spec, such as __main__
        return None


def users_mistake(error: BaseException) -> UserCodeError | None:
    """Return what to report for an error that the user's own code has raised; None for any other.

    It is theirs if, of all code of theirs and of embexp's that the error came through, theirs was the last;
    if it is a syntax error in a file of theirs; or if embexp asked an object of theirs for what it lacks.
    """
    if isinstance(error, EmbexpError) or not isinstance(error, Exception):
        return None
    problem = f"{type(error).__name__}: {error}".rstrip(": .")
    if isinstance(error, SyntaxError):
        if not error.filename or not is_users(error.filename):
            return None
        return _mistake(f"{error.filename}:{error.lineno}", f"{type(error).__name__}: {error.msg}")
    if place := _users_frame(error):
        return _mistake(place, problem)
    owner = type(error.obj) if isinstance(error, AttributeError) else None
    if owner is not None and source_digest(owner) is not None:
        return _mistake(place_of(owner), problem)
    return None


def _mistake(place: str, problem: str) -> UserCodeError:
    return UserCodeError(f"{place}: {problem}. This is in your own code, not in embexp's: correct it there.")


def _users_frame(error: BaseException) -> str | None:
    """Return ``file:line, in function`` of the user's last frame, if none of embexp's comes after it."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_users(frame.filename):
            return f"{frame.filename}:{frame.lineno}, in {frame.name}"
        if Path(frame.filename).resolve().is_relative_to(_PACKAGE):
            return None
    return None


def place_of(target: object) -> str:
    """Return ``file:line`` of a class or function, or its name where it has no source."""
    try:
        _, line = inspect.getsourcelines(target)  # type: ignore[arg-type]
        return f"{inspect.getsourcefile(target)}:{line}"  # type: ignore[arg-type]
    except (OSError, TypeError):
        return str(getattr(target, "__qualname__", target))


def yielded(items: Iterable[object] | None, kind: type[T], source: object, method: str) -> Iterator[T]:
    """Yield what a component's method yields, each checked to be of its kind.

    Raises:
        UserCodeError: The method returns nothing, or yields something else.
    """
    if items is None:
        raise _wrong_result("None", kind, source, method)
    for item in items:
        if not isinstance(item, kind):
            raise _wrong_result(f"{reprlib.repr(item)}, a {type(item).__name__}", kind, source, method)
        yield item


def _wrong_result(result: str, kind: type, source: object, method: str) -> UserCodeError:
    """Return the error for a result; only then is the source read to say where it stands, which is slow."""
    return UserCodeError(
        f"{place_of(type(source))}: {type(source).__qualname__}.{method} returns {result}: it has to return "
        f"{kind.__name__}s ({kind.__module__}.{kind.__name__})."
    )
