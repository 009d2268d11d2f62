"""Docstrings of Python modules, and the public names of the objects, without running the source."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_SELF = re.compile(r"\(\$?(self|cls|module|type)\b(, /)?(, )?(?=[^=:]|$)")


@dataclass(frozen=True, slots=True)
class Entry:
    """The docstring of an object, its name within its module or class, and its signature if it has one."""

    name: str
    doc: str
    call: str = ""


@dataclass(frozen=True)
class Module:
    """What a module defines and what it imports, as far as the source shows it.

    ``defined`` maps a public name to the entries of that object (a class, then its methods);
    ``imported`` maps a name to the module and name that it comes from, without names that a literal
    ``__all__`` leaves out; ``stars`` lists the modules that are imported with ``*``.
    """

    doc: str = ""
    defined: Mapping[str, list[Entry]] = field(default_factory=dict)
    imported: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    stars: tuple[str, ...] = ()


def parse(path: Path, name: str) -> Module:
    """Read a module's source.

    Args:
        path: The file.
        name: The module's full name, to resolve its relative imports.

    Raises:
        SyntaxError, ValueError, UnicodeDecodeError: It is not source of this version of Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in the source
        tree = ast.parse(path.read_bytes())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    defined: dict[str, list[Entry]] = {}
    imported: dict[str, tuple[str, str]] = {}
    stars: list[str] = []
    for node in _statements(tree.body):
        if isinstance(node, ast.ImportFrom):
            origin = _origin(node, package)
            for alias in node.names:
                if alias.name == "*":
                    stars.append(origin)
                elif not (alias.asname or alias.name).startswith("_"):
                    imported.setdefault(alias.asname or alias.name, (origin, alias.name))
        elif _is_public(node) and node.name not in defined:
            defined[node.name] = list(_entries(node, ""))
    listed = _listed(tree.body)
    if listed is not None:
        imported = {name: origin for name, origin in imported.items() if name in listed}
    return Module(ast.get_docstring(tree) or "", defined, imported, tuple(stars))


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield a module's statements, including those inside ``if``, ``try`` and ``with``."""
    for node in body:
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from _statements(node.body)
            yield from _statements(getattr(node, "orelse", []))
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)
        else:
            yield node


def _listed(body: list[ast.stmt]) -> set[str] | None:
    """Return the names in ``__all__`` if it is a literal, None if it is missing or computed."""
    names: set[str] | None = None
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            value = getattr(node, "value", None)
            if not isinstance(value, (ast.List, ast.Tuple)):
                return None
            names = (names or set()) | {
                str(item.value) for item in value.elts if isinstance(item, ast.Constant)
            }
    return names


def _origin(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _is_public(node: ast.stmt) -> TypeGuard[_Definition]:
    return isinstance(node, _Definition) and not node.name.startswith("_")


def _entries(node: _Definition, prefix: str) -> Iterator[Entry]:
    name = f"{prefix}{node.name}"
    doc = ast.get_docstring(node) or ""
    if not isinstance(node, ast.ClassDef):
        if doc:
            yield Entry(name, doc, _without_self(f"{node.name}({ast.unparse(node.args)})"))
        return
    if doc:
        yield Entry(name, doc)
    for child in node.body:
        if _is_public(child):
            yield from _entries(child, f"{name}.")


def compiled(name: str) -> Module:
    """Read the docstrings of a compiled module of the standard library by importing it.

    Raises:
        ImportError: This Python was built without the module.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of modules that a later Python drops
        module = importlib.import_module(name)
    names = sorted(key for key in vars(module) if not key.startswith("_"))
    defined = {key: list(_runtime_entries(vars(module)[key], key)) for key in names}
    return Module(_clean(module), {key: entries for key, entries in defined.items() if entries})


def _runtime_entries(value: Any, name: str) -> Iterator[Entry]:
    if isinstance(value, ModuleType) or not callable(value):
        return
    if doc := _clean(value):
        yield Entry(name, doc, "" if inspect.isclass(value) else _call(value))
    if inspect.isclass(value):
        for key, member in sorted(vars(value).items()):
            doc = _clean(member)
            if not key.startswith("_") and doc and not inspect.isdatadescriptor(member):
                yield Entry(f"{name}.{key}", doc, _call(member))


def _clean(value: Any) -> str:
    doc = getattr(value, "__doc__", None)
    return inspect.cleandoc(doc) if isinstance(doc, str) else ""


def _call(value: Any) -> str:
    signature = getattr(value, "__text_signature__", None)
    return _without_self(f"{value.__name__}{signature}") if signature else ""


def _without_self(call: str) -> str:
    return _SELF.sub("(", call, count=1)


@dataclass(frozen=True)
class Namespace:
    """The public objects of some modules.

    The objects of a public module are public, and so are those that it imports from a private module (one
    with a component that begins with ``_``) or from a module below it. An object with several names goes by
    the shortest.

    Args:
        modules: The public modules' full names.
        load: Reads a module, public or private; None if there is none.
    """

    modules: list[str]
    load: Callable[[str], Module | None]
    _resolved: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield every documented public object with its public name, sorted by that name."""
        public_names: dict[tuple[str, str], str] = {}
        for module in self.modules:
            loaded = self.load(module)
            if loaded and loaded.doc:
                public_names[module, ""] = module
            for name, place in self._names(module).items():
                public = f"{module}.{name}"
                if place not in public_names or _length(public) < _length(public_names[place]):
                    public_names[place] = public
        entries: list[tuple[str, Entry]] = []
        for (module, name), public in public_names.items():
            loaded = self.load(module) or Module()
            if not name:
                entries.append((public, Entry("", loaded.doc)))
            for entry in loaded.defined.get(name, []):
                entries.append((public + entry.name.removeprefix(name), entry))
        yield from sorted(entries, key=lambda item: item[0])

    def _names(self, module: str) -> dict[str, tuple[str, str]]:
        """Return a module's public names and where each object is defined."""
        if module in self._resolved:
            return self._resolved[module]
        names: dict[str, tuple[str, str]] = {}
        self._resolved[module] = names  # an import cycle meets what is known so far
        loaded = self.load(module)
        if loaded is None:
            return names
        names.update({name: (module, name) for name in loaded.defined})
        for name, (origin, original) in loaded.imported.items():
            if _re_exports(module, origin) and original in self._names(origin):
                names.setdefault(name, self._names(origin)[original])
        for origin in loaded.stars:
            for name, place in self._names(origin).items():
                names.setdefault(name, place)
        return names


def is_private(module: str) -> bool:
    """Return whether a module's full name has a component that begins with an underscore."""
    return any(part.startswith("_") for part in module.split("."))


def _re_exports(module: str, origin: str) -> bool:
    return is_private(origin) or origin.startswith(f"{module}.")


def _length(name: str) -> tuple[int, int, str]:
    return name.count("."), len(name), name
