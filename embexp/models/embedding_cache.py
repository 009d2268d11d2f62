"""Vectors on disk, so that no text goes through the same model twice.

One folder per model fingerprint holds ``keys.bin`` (a 16-byte digest for each row), ``vectors.f32`` (the
rows, float32), ``seconds.f32`` (what encoding each row took) and ``meta.json`` (their dimension). The files
only grow, and keys are written last: whatever a kill leaves, the rows that all files hold are whole, and the
next writer cuts off the rest. A model's lock is held while a block is encoded and written, so that processes
that need the same vectors at once wait for the first of them instead of encoding twice.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout

from embexp.errors import ConfigError, ModelError
from embexp.storage.files import space_checked, write_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

log = logging.getLogger(__name__)


Role = Literal["query", "passage", "pair"]
Encode = Callable[[Sequence[str]], "Vectors"]
BLOCK = 4096
"""Texts that are encoded before their vectors are written: the most that a kill can cost."""
KEY_BYTES = 16
FLOAT_BYTES = 4
KEYS, VECTORS, SECONDS, META = "keys.bin", "vectors.f32", "seconds.f32", "meta.json"


@dataclass(frozen=True, slots=True)
class Fetched:
    """Vectors, one row a text, and what it took to encode them, whether now or in an earlier run.

    ``known`` counts the distinct texts that were on disk already.
    """

    vectors: Vectors
    seconds: float
    known: int


class EmbeddingCache:
    """A cache of vectors under ``root`` that several processes may share.

    Args:
        root: Its folder; it is made when the first vectors are written.
        max_bytes: Above this size the models that were not used for longest are dropped.
    """

    def __init__(self, root: Path, *, max_bytes: int = 10 * 2**30) -> None:
        if max_bytes < 0:
            raise ConfigError(f"The embedding cache may hold {max_bytes} bytes: give 0 or more.")
        self.root = root
        self.max_bytes = max_bytes

    def get_or_encode(self, fingerprint: str, role: Role, texts: Sequence[str], encode: Encode) -> Vectors:
        """Return the vectors of ``texts``, as ``fetch`` does, and nothing else."""
        return self.fetch(fingerprint, role, texts, encode).vectors

    def fetch(
        self,
        fingerprint: str,
        role: Role,
        texts: Sequence[str],
        encode: Encode,
        *,
        prepare: Callable[[], object] = lambda: None,
    ) -> Fetched:
        """Return the vectors of ``texts``, encoding those that are not on disk yet.

        Args:
            fingerprint: The model's digest; other weights or prompts have another one.
            role: Whether the texts are queries or passages, which models may treat differently, or pairs of
                both, which get a score (a vector of one number).
            texts: What to look up; a text that comes twice is encoded once.
            encode: Encodes up to 4,096 texts, shape (texts, dimension). It is called once per block, and a
                block is on disk before the next one starts; it is not called if nothing is missing, but
                for an empty ``texts``, where it alone knows the dimension.
            prepare: Called before ``encode`` and outside the measured time: loads the model, say.

        Returns:
            float32 vectors, shape (len(texts), dimension), and the seconds that their encoding took.
        """
        import numpy as np

        if not texts:
            return Fetched(encode(texts), 0.0, 0)
        folder = self.root / hashlib.sha256(fingerprint.encode()).hexdigest()[:32]
        keys = [_key(role, text) for text in texts]
        wanted = dict(zip(keys, texts, strict=True))
        stored = _stored(folder, list(wanted))
        parts = [stored] if stored else []
        known = len(stored.keys) if stored else 0
        there = set(stored.keys) if stored else set()
        missing = [key for key in wanted if key not in there]
        for start in range(0, len(missing), BLOCK):
            block = {key: wanted[key] for key in missing[start : start + BLOCK]}
            parts += self._encoded(folder, block, encode, prepare)
        if missing:
            self._drop_oldest(keep=folder)
        log.debug("%d of %d vectors taken from %s", known, len(texts), folder)
        found = [key for part in parts for key in part.keys]
        place = {key: row for row, key in enumerate(found)}
        rows = [place[key] for key in keys]
        vectors = parts[0].vectors if len(parts) == 1 else np.concatenate([part.vectors for part in parts])
        in_order = len(rows) == len(found) and rows == list(range(len(rows)))
        seconds = float(sum(part.seconds.sum() for part in parts))
        return Fetched(vectors if in_order else vectors[rows], seconds, known)

    def _encoded(
        self, folder: Path, block: dict[bytes, str], encode: Encode, prepare: Callable[[], object]
    ) -> list[_Rows]:
        """Encode a block and write it, unless another process has done so in the meantime."""
        import numpy as np

        with _locked(folder):
            stored = _stored(folder, list(block))
            parts = [stored] if stored else []
            for key in stored.keys if stored else ():
                del block[key]
            if block:
                prepare()
                texts = list(block.values())
                start = time.perf_counter()
                vectors = np.asarray(encode(texts), dtype=np.float32)
                took = _shares(texts, time.perf_counter() - start)
                parts.append(_Rows(list(block), vectors, took))
                self._append(folder, parts[-1])
        return parts

    def _append(self, folder: Path, rows: _Rows) -> None:
        """Write rows behind those that are there; the caller holds the lock."""
        width = rows.vectors.shape[1]
        if len(rows.keys) * _row_bytes(width) + _size(folder) > self.max_bytes:
            log.warning("The embedding cache %s is full (%d bytes): not kept.", self.root, self.max_bytes)
            return
        with space_checked(folder):
            folder.mkdir(exist_ok=True)
            dimension = _dimension(folder)
            if dimension is None:
                dimension = width
                write_json(folder / META, {"dimension": dimension})
            if dimension != width:
                raise ModelError(
                    f"{folder} holds vectors of dimension {dimension}, but the model gives "
                    f"{width}: delete that folder."
                )
            there = _whole_rows(folder, dimension)
            _write_at(folder / VECTORS, there * dimension * FLOAT_BYTES, rows.vectors.tobytes())
            _write_at(folder / SECONDS, there * FLOAT_BYTES, rows.seconds.tobytes())
            _write_at(folder / KEYS, there * KEY_BYTES, b"".join(rows.keys))

    def _drop_oldest(self, *, keep: Path) -> None:
        """Drop whole models, the least recently used first, until the cache fits."""
        folders = sorted((path for path in self.root.iterdir() if path.is_dir()), key=_last_used)
        total = sum(_size(folder) for folder in folders)
        for folder in folders:
            if total <= self.max_bytes:
                return
            if folder == keep:
                continue
            try:
                with FileLock(folder.with_suffix(".lock"), timeout=0):
                    total -= _size(folder)
                    shutil.rmtree(folder, ignore_errors=True)
                    log.info("Dropped the vectors in %s: the cache holds %d bytes", folder, self.max_bytes)
            except Timeout:
                continue


@dataclass(frozen=True, slots=True)
class _Rows:
    """Keys with their vectors, and the seconds that encoding each of them took."""

    keys: list[bytes]
    vectors: Vectors
    seconds: npt.NDArray[np.float32]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the model's lock; say so where another process has it, since its work may take long."""
    with space_checked(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("Another process encodes with the same model: waiting for its vectors.")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _shares(texts: Sequence[str], seconds: float) -> npt.NDArray[np.float32]:
    """Divide the seconds that a block took among its texts by their lengths."""
    import numpy as np

    lengths = np.array([len(text) + 1 for text in texts], dtype=np.float64)
    shares: npt.NDArray[np.float32] = (seconds * lengths / lengths.sum()).astype(np.float32)
    return shares


def _key(role: Role, text: str) -> bytes:
    return hashlib.sha256(f"{role}\0{text}".encode(errors="surrogatepass")).digest()[:KEY_BYTES]


def _stored(folder: Path, keys: Sequence[bytes]) -> _Rows | None:
    """Return those of ``keys`` that are on disk, in the same order; None if there are none."""
    import numpy as np

    try:
        dimension = _dimension(folder)
        rows = _whole_rows(folder, dimension or 1)
        if dimension is None or rows == 0:
            return None
        digests = (folder / KEYS).read_bytes()[: rows * KEY_BYTES]
        place = {digests[row * KEY_BYTES : (row + 1) * KEY_BYTES]: row for row in range(rows)}
        known = [key for key in keys if key in place]
        if not known:
            return None
        vectors = np.memmap(folder / VECTORS, dtype=np.float32, mode="r", shape=(rows, dimension))
        seconds = np.memmap(folder / SECONDS, dtype=np.float32, mode="r", shape=(rows,))
        os.utime(folder / KEYS)
    except FileNotFoundError:  # another process has just dropped this model
        return None
    wanted = [place[key] for key in known]
    return _Rows(known, np.asarray(vectors[wanted]), np.asarray(seconds[wanted]))


def _dimension(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / META).read_text(encoding="utf-8"))["dimension"])
    except FileNotFoundError:
        return None


def _row_bytes(dimension: int) -> int:
    return (dimension + 1) * FLOAT_BYTES + KEY_BYTES


def _whole_rows(folder: Path, dimension: int) -> int:
    sizes = ((KEYS, KEY_BYTES), (VECTORS, dimension * FLOAT_BYTES), (SECONDS, FLOAT_BYTES))
    return min(_bytes(folder / name) // size for name, size in sizes)


def _write_at(file: Path, position: int, data: bytes) -> None:
    """Cut off what lies behind ``position``, the torn end of a killed write, and add ``data`` there."""
    with file.open("r+b" if file.exists() else "wb") as stream:
        stream.truncate(position)
        stream.seek(position)
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _bytes(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _size(folder: Path) -> int:
    return sum(_bytes(folder / name) for name in (KEYS, VECTORS, SECONDS))


def _last_used(folder: Path) -> float:
    keys = folder / KEYS
    return keys.stat().st_mtime if keys.exists() else 0.0
