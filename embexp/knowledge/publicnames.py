"""Which public name each documented object goes by: ``json.loads``, ``heapq.heappush``, ``asyncio.run``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from embexp.knowledge.sources import Entry, Module


@dataclass(frozen=True)
class Namespace:
    """The public objects of some modules.

    A public module's own objects are public, and so is what it takes over from a private module (one
    with a component that begins with ``_``) or from a module below it. Of several names for one object
    the shortest counts.

    Args:
        modules: The public modules' full names.
        load: Reads a module, private ones too; None where there is none.
    """

    modules: list[str]
    load: Callable[[str], Module | None]
    _resolved: dict[str, dict[str, tuple[str, str]]] = field(default_factory=dict)

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """Yield every documented public object with its public name, sorted by that name."""
        found: dict[tuple[str, str], str] = {}
        for module in self.modules:
            loaded = self.load(module)
            if loaded and loaded.doc:
                found[module, ""] = module
            for name, place in self._names(module).items():
                public = f"{module}.{name}"
                if place not in found or _length(public) < _length(found[place]):
                    found[place] = public
        entries: list[tuple[str, Entry]] = []
        for (module, name), public in found.items():
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
            if _takes_over(module, origin) and original in self._names(origin):
                names.setdefault(name, self._names(origin)[original])
        for origin in loaded.stars:
            for name, place in self._names(origin).items():
                names.setdefault(name, place)
        return names


def private(module: str) -> bool:
    """Tell whether a module's full name has a component that begins with an underscore."""
    return any(part.startswith("_") for part in module.split("."))


def _takes_over(module: str, origin: str) -> bool:
    return private(origin) or origin.startswith(f"{module}.")


def _length(name: str) -> tuple[int, int, str]:
    return name.count("."), len(name), name
