"""The vectors of one model on disk: a table of a few files whose every row is checked when it is read.

``keys.bin`` holds a 16-byte digest per row, ``vectors.f32`` the rows (float32), ``seconds.f32`` the time that
encoding each row took, ``checks.bin`` an 8-byte checksum of each row, and ``meta.json`` the dimension. Files
are append-only, and keys are written last: after a kill, the rows that all files hold are complete, and the
next writer cuts off the rest. A row that was damaged is given up: its key becomes zero.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from embexp.errors import DamagedError
from embexp.storage.files import write_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Vectors: TypeAlias = "npt.NDArray[np.float32]"

KEY_BYTES, FLOAT_BYTES, CHECK_BYTES = 16, 4, 8
KEYS, VECTORS, SECONDS, META = "keys.bin", "vectors.f32", "seconds.f32", "meta.json"
CHECKS = "checks.bin"
NO_KEY = bytes(KEY_BYTES)
"""The key of a row that was given up."""
ROWS_PER_CHECK = 4096


@dataclass(frozen=True, slots=True)
class Rows:
    """Keys with their vectors, and the seconds that encoding each of them took."""

    keys: list[bytes]
    vectors: Vectors
    seconds: npt.NDArray[np.float32]

    def without(self, keys: Collection[bytes]) -> Rows:
        """Return the rows whose keys are not among these."""
        kept = [row for row, key in enumerate(self.keys) if key not in keys]
        return Rows([self.keys[row] for row in kept], self.vectors[kept], self.seconds[kept])


def stored_rows(folder: Path) -> Rows | None:
    """Return all rows in a folder that are as they were written; None if there are none."""
    dimension = readable_dimension(folder)
    if dimension is None:
        return None
    rows, _ = _complete_rows(folder, dimension)
    table = _Table.open(folder, rows, dimension)
    keys = table.keys()
    damaged = {keys[row] for row in table.damaged()} | {NO_KEY}
    found = Rows(keys, table.vectors, table.seconds).without(damaged)
    return found if found.keys else None


class KeyRows:
    """Finds the rows of keys in one folder; a later search reads only the keys that were added since.

    The keys that a search reads are sorted. Sorted parts are merged when they are of about the same size, so
    that n keys take n log n steps in all, in however many parts they were added.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._parts: list[_SortedKeys] = []

    def find(self, folder: Path, rows: int, keys: Sequence[bytes]) -> npt.NDArray[np.int64]:
        """Return the row of each key among the first ``rows``; -1 for a key that is not there."""
        import numpy as np

        if rows < self._rows:  # the folder was repaired, or written anew
            self._rows, self._parts = 0, []
        if rows > self._rows:
            self._add(folder, rows)
        high, low = _halves(b"".join(keys))
        found = np.full(len(keys), -1, dtype=np.int64)
        for part in self._parts:
            at = np.minimum(np.searchsorted(part.high, high), len(part.high) - 1)
            same = (part.high[at] == high) & (part.low[at] == low)
            found[same] = part.rows[at[same]]
        return found

    def _add(self, folder: Path, rows: int) -> None:
        import numpy as np

        with (folder / KEYS).open("rb") as stream:
            stream.seek(self._rows * KEY_BYTES)
            high, low = _halves(stream.read((rows - self._rows) * KEY_BYTES))
        numbers = np.arange(self._rows, self._rows + len(high))
        kept = (high != 0) | (low != 0)  # without the rows that were given up
        self._rows = rows
        self._parts.append(_SortedKeys.of(high[kept], low[kept], numbers[kept]))
        while len(self._parts) > 1 and len(self._parts[-2].rows) <= 2 * len(self._parts[-1].rows):
            last, before = self._parts.pop(), self._parts.pop()
            high, low = np.concatenate([before.high, last.high]), np.concatenate([before.low, last.low])
            self._parts.append(_SortedKeys.of(high, low, np.concatenate([before.rows, last.rows])))
        self._parts = [part for part in self._parts if len(part.rows)]


class _SortedKeys(NamedTuple):
    """Keys in the order of their first halves. Two keys with the same first half are too rare to matter.

    The second of them would not be found, and its text encoded again.
    """

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    rows: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64], rows: npt.NDArray[np.int64]
    ) -> _SortedKeys:
        order = high.argsort(kind="stable")
        return cls(high[order], low[order], rows[order])


def _halves(keys: bytes) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return the two halves of each key as numbers."""
    import numpy as np

    numbers = np.frombuffer(keys, dtype=np.uint64).reshape(-1, 2)
    return numbers[:, 0].copy(), numbers[:, 1].copy()


def read_rows(folder: Path, keys: Sequence[bytes], key_rows: KeyRows) -> Rows | None:
    """Return the rows of those ``keys`` that are on disk, each of them checked; None if there are none.

    Args:
        folder: The model's folder.
        keys: What to look up.
        key_rows: Remembers the keys that an earlier call has read; a new one after damage.

    Raises:
        DamagedError: A row is not as it was written, or a file is too short.
        FileNotFoundError: A file is not there.
    """
    dimension = _dimension(folder)
    if dimension is None:
        return None
    rows, lost = _complete_rows(folder, dimension)
    if lost:
        raise DamagedError(f"{lost:,} rows are cut off")
    row_of = key_rows.find(folder, rows, keys)
    known = [key for key, row in zip(keys, row_of, strict=True) if row >= 0]
    if not known:
        return None
    os.utime(folder / KEYS)
    wanted = row_of[row_of >= 0]
    table = _Table.open(folder, rows, dimension)
    found = Rows(known, table.vectors[wanted], table.seconds[wanted])
    if not (_checks(found) == table.checks[wanted]).all():
        raise DamagedError("rows were changed")
    return found


@dataclass(frozen=True, slots=True)
class _Table:
    """The complete rows of a model, which stay on disk until they are read."""

    folder: Path
    rows: int
    vectors: Vectors
    seconds: npt.NDArray[np.float32]
    checks: npt.NDArray[np.uint64]

    @classmethod
    def open(cls, folder: Path, rows: int, dimension: int) -> _Table:
        import numpy as np

        if rows == 0:
            empty = np.empty(0, dtype=np.float32)
            nothing = np.empty((0, dimension), dtype=np.float32)
            return cls(folder, 0, nothing, empty, np.empty(0, dtype=np.uint64))
        return cls(
            folder,
            rows,
            np.memmap(folder / VECTORS, dtype=np.float32, mode="r", shape=(rows, dimension)),
            np.memmap(folder / SECONDS, dtype=np.float32, mode="r", shape=(rows,)),
            np.memmap(folder / CHECKS, dtype=np.uint64, mode="r", shape=(rows,)),
        )

    def keys(self) -> list[bytes]:
        """Return the key of each row."""
        digests = (self.folder / KEYS).read_bytes()
        return [digests[row * KEY_BYTES : (row + 1) * KEY_BYTES] for row in range(self.rows)]

    def damaged(self) -> list[int]:
        """Return the numbers of the rows that are not as they were written, those without a key left out."""
        import numpy as np

        found: list[int] = []
        keys = self.keys()
        for start in range(0, len(keys), ROWS_PER_CHECK):
            part = slice(start, start + ROWS_PER_CHECK)
            rows = Rows(keys[part], self.vectors[part], self.seconds[part])
            found += (start + np.flatnonzero(_checks(rows) != self.checks[part])).tolist()
        return [row for row in found if keys[row] != NO_KEY]


def _checks(rows: Rows) -> npt.NDArray[np.uint64]:
    """Return the checksum (XXH3) of each row: of its key, its vector and its seconds."""
    import numpy as np
    import xxhash

    columns = (np.frombuffer(b"".join(rows.keys), dtype=np.uint8), rows.vectors, rows.seconds)
    count = len(rows.keys)
    parts = [np.ascontiguousarray(each).view(np.uint8).reshape(count, -1) for each in columns]
    joined = np.concatenate(parts, axis=1)
    width, data = joined.shape[1], joined.reshape(-1).data
    digests = (xxhash.xxh3_64_intdigest(data[row * width : (row + 1) * width]) for row in range(count))
    return np.fromiter(digests, dtype=np.uint64, count=count)


def find_damaged_vectors(folder: Path) -> str | None:
    """Check every row in a model's folder, and return what is damaged; None if nothing is."""
    try:
        dimension = _dimension(folder)
        if dimension is None:
            return None
        rows, lost = _complete_rows(folder, dimension)
        damaged = len(_Table.open(folder, rows, dimension).damaged()) + lost
    except DamagedError as error:
        return str(error)
    except FileNotFoundError:  # another process has just dropped this model
        return None
    return f"{damaged:,} of {rows + lost:,} rows were changed" if damaged else None


def repair_vectors(folder: Path) -> tuple[int, int]:
    """Give up the damaged rows of a model's folder; the caller holds its lock.

    Returns:
        The numbers of rows that are kept, and of rows that are lost.
    """
    rows = _bytes(folder / KEYS) // KEY_BYTES
    by_size = _bytes(folder / VECTORS) // FLOAT_BYTES // rows if rows else 0
    for dimension in dict.fromkeys((readable_dimension(folder), by_size)):
        if not dimension:
            continue
        complete, _ = _complete_rows(folder, dimension)
        table = _Table.open(folder, complete, dimension)
        damaged = table.damaged()
        if len(damaged) + table.keys().count(NO_KEY) == complete:
            continue
        write_json(folder / META, {"dimension": dimension})
        with (folder / KEYS).open("r+b") as stream:
            stream.truncate(complete * KEY_BYTES)
            for row in damaged:
                stream.seek(row * KEY_BYTES)
                stream.write(NO_KEY)
        return complete - len(damaged), rows - complete + len(damaged)
    for name in (KEYS, VECTORS, SECONDS, CHECKS, META):
        (folder / name).unlink(missing_ok=True)
    return 0, rows


def append_rows(folder: Path, rows: Rows) -> None:
    """Append rows to a model's files; the caller holds its lock.

    Raises:
        DamagedError: meta.json is damaged, or the files hold vectors of another dimension.
    """
    width = rows.vectors.shape[1]
    dimension = _dimension(folder)
    if dimension is None or not _bytes(folder / KEYS):
        dimension = width
        write_json(folder / META, {"dimension": dimension})
    if dimension != width:
        raise DamagedError(
            f"{folder} holds vectors of dimension {dimension}, but the model gives {width}: "
            "delete that folder."
        )
    count, _ = _complete_rows(folder, dimension)
    _write_at(folder / VECTORS, count * dimension * FLOAT_BYTES, rows.vectors.tobytes())
    _write_at(folder / SECONDS, count * FLOAT_BYTES, rows.seconds.tobytes())
    _write_at(folder / CHECKS, count * CHECK_BYTES, _checks(rows).tobytes())
    _write_at(folder / KEYS, count * KEY_BYTES, b"".join(rows.keys))


def _dimension(folder: Path) -> int | None:
    """Return the length of a model's vectors; None if there are none.

    Raises:
        DamagedError: There are vectors, and meta.json is missing or damaged.
    """
    try:
        dimension = json.loads((folder / META).read_text(encoding="utf-8"))["dimension"]
    except FileNotFoundError as error:
        if _bytes(folder / KEYS):
            raise DamagedError(f"{META} is missing") from error
        return None
    except (ValueError, LookupError, TypeError) as error:
        raise DamagedError(f"{META} was changed") from error
    if type(dimension) is not int or dimension < 1:
        raise DamagedError(f"{META} was changed")
    return dimension


def readable_dimension(folder: Path) -> int | None:
    """Return the length of a model's vectors; None if there are none, or their description is damaged."""
    try:
        return _dimension(folder)
    except DamagedError:
        return None


def row_bytes(dimension: int) -> int:
    """Return how many bytes of disk a row takes."""
    return (dimension + 1) * FLOAT_BYTES + KEY_BYTES + CHECK_BYTES


def _complete_rows(folder: Path, dimension: int) -> tuple[int, int]:
    """Return how many rows are complete, and how many have a key and lack another part.

    Keys are written last, so a process that is killed leaves none of the latter: such a file was cut.
    """
    with_key = _bytes(folder / KEYS) // KEY_BYTES  # read first: another process may be writing
    sizes = ((VECTORS, dimension * FLOAT_BYTES), (SECONDS, FLOAT_BYTES), (CHECKS, CHECK_BYTES))
    complete = min(with_key, *(_bytes(folder / name) // size for name, size in sizes))
    return complete, with_key - complete


def _write_at(file: Path, position: int, data: bytes) -> None:
    """Write ``data`` at ``position``; anything beyond it is the torn end of a killed write and is cut off."""
    with file.open("r+b" if file.exists() else "wb") as stream:
        stream.truncate(position)
        stream.seek(position)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def files_size(folder: Path) -> int:
    """Return how many bytes a model's rows take."""
    return sum(_bytes(folder / name) for name in (KEYS, VECTORS, SECONDS, CHECKS))


def last_used(folder: Path) -> float:
    """Return when a model's vectors were last read or written, in seconds since 1970; 0 for never."""
    try:
        return (folder / KEYS).stat().st_mtime
    except FileNotFoundError:
        return 0.0
