"""Links from one document to another, as readers find them and synthesis uses them."""

from __future__ import annotations

import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from embexp.data.records import Document

LINKS = "links"
"""The key in a document's metadata for its links to other files: words and address of each, as JSON."""
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|#|$", re.IGNORECASE)
"""The beginning of an address that leads out of the folder, or nowhere else than to this page."""
_INDEX = frozenset({"index", "readme", "_index"})


def links_metadata(links: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return metadata with the words and addresses of links, each once, without those out of the folder."""
    kept = dict.fromkeys((words, address) for words, address in links if words and not leads_away(address))
    return {LINKS: json.dumps([*kept], ensure_ascii=False)} if kept else {}


def leads_away(address: str) -> bool:
    """Return whether an address leads out of the folder, or to another place of the same page."""
    return _ELSEWHERE.match(address.strip()) is not None


def links_of(document: Document) -> Iterator[tuple[str, str]]:
    """Yield words and address of a document's links to other files."""
    yield from map(tuple, json.loads(document.metadata.get(LINKS, "[]")))


class Targets:
    """The documents that addresses in other documents lead to.

    Args:
        names: The documents' names: paths below a folder.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._bare: dict[str, list[str]] = defaultdict(list)
        self._last: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._names):
            self._bare[_bare(name)].append(name)
            self._last[posixpath.basename(posixpath.splitext(name)[0])].append(name)

    def find(self, address: str, *, source: str) -> str | None:
        """Return the document that an address leads to; None if it leads to none, or to several.

        The address may leave out the extension and an index page's name (``guide/pump`` or ``guide/``), and
        may start at the root of the folder (``/guide/pump.md``). A name alone may be that of a page in any
        folder, as links in wikis have it (``[[pump]]``).

        Args:
            address: The address, without its fragment.
            source: The document that it stands in.
        """
        path = unquote(address).partition("?")[0]
        folder = "" if path.startswith("/") else posixpath.dirname(source)
        target = posixpath.normpath(posixpath.join(folder, path.lstrip("/")))
        if target in self._names:
            return target
        found = self._bare.get(target) or self._bare.get(_bare(target))
        if not found and "/" not in path:
            found = self._last.get(path)
        found = found or []
        return found[0] if len(found) == 1 else None


def _bare(name: str) -> str:
    """Return a path without its extension, and without the name of an index page."""
    stem = posixpath.splitext(name)[0]
    folder, _, last = stem.rpartition("/")
    return folder if last.lower() in _INDEX else stem
