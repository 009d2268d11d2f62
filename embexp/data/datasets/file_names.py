"""Files by what people call them: a path or its end, in any case, with or without the extension."""

from __future__ import annotations

import difflib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from embexp.errors import DataError

_SHOWN = 3


class FileNames:
    """The names of files, to be found by a part of them.

    Args:
        names: Paths below a folder, with ``/`` between the parts.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self._by_key: dict[str, set[str]] = defaultdict(set)
        for name in self.names:
            for key in _keys(name):
                self._by_key[key].add(name)

    def find(self, text: str) -> str | None:
        """Return the file that a text names; None if there is none.

        The name itself comes first, then the longest end of the text that a file's path ends with, as it is
        and without its extension; of several such files, the one whose folders include those of the text.
        Case, kinds of slashes, and the two forms of accented letters do not matter; ``#part`` after the name
        of a table stays.

        Raises:
            DataError: Several files are called so.
        """
        if text in self.names:
            return text
        name, mark, part = text.partition("#")
        if mark and (table := self.find(name)):
            return f"{table}#{part}"
        for key in _keys(text):
            found = sorted(self._by_key.get(key, ()))
            if len(found) > 1:
                found = [each for each in found if _has_folders_of(each, text)] or found
            if len(found) > 1:
                more = ", …" if len(found) > _SHOWN else ""
                raise DataError(
                    f"{text!r} may be any of {len(found)} files ({', '.join(found[:_SHOWN])}{more}): "
                    "write more of its path."
                )
            if found:
                return found[0]
        return None

    def hint(self, text: str) -> str:
        """Return the remedy for a text that names no file: the nearest name, or what names look like."""
        bare = _plain(text).rpartition("/")[2]
        ends = {_plain(name).rpartition("/")[2]: name for name in sorted(self.names, reverse=True)}
        near = difflib.get_close_matches(bare, ends, n=1)
        if near:
            return f"did you mean {ends[near[0]]!r}?"
        return f"names look like {min(self.names)!r}." if self.names else "the folder has no file."


def _parts(text: str) -> list[str]:
    return [part for part in _plain(text).split("/") if part not in ("", ".", "..")]


def _has_folders_of(name: str, text: str) -> bool:
    """Return whether a path has the folders of a text, in their order, perhaps with others between them."""
    folders = iter(_parts(name)[:-1])
    return all(folder in folders for folder in _parts(text)[:-1])


def _keys(text: str) -> Iterator[str]:
    """Yield what a path can be called, the most exact first: its ends, each with and without extension."""
    parts = _parts(text)
    for at in range(len(parts)):
        end = "/".join(parts[at:])
        yield end
        yield _without_extension(end)


def _without_extension(path: str) -> str:
    stem, dot, extension = path.rpartition(".")
    return (
        stem
        if dot and stem and not stem.endswith("/") and extension.isalnum() and len(extension) <= 8
        else path
    )


def _plain(text: str) -> str:
    """Return a name in one case, one form of accents and one kind of slash, without %20 and the like."""
    return unicodedata.normalize("NFC", unquote(text.strip())).casefold().replace("\\", "/")
