"""Vectors on disk, so that no text goes through the same model twice.

One folder per model fingerprint holds ``keys.bin`` (a 16-byte digest per row), ``vectors.f32`` (the rows,
float32), ``seconds.f32`` (the time that encoding each row took) and ``meta.json`` (the dimension). Files are
append-only, and keys are written last: after a kill, the rows that all files hold are complete, and the next
writer cuts off the rest. A model's lock is held while a block is encoded and written, so that processes that
need the same vectors at the same time wait for the first of them instead of encoding twice.
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
from embexp.progress import progress
from embexp.storage.files import space_checked, write_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

log = logging.getLogger(__name__)


Role = Literal["query", "passage", "pair"]
Encode = Callable[[Sequence[str]], "Vectors"]
BLOCK = 4096
"""Texts that are encoded before their vectors are written: at most these are lost to a kill."""
SLOW_BLOCK = 512
"""The same for models that take long for a text, such as cross-encoders."""
KEY_BYTES = 16
FLOAT_BYTES = 4
KEYS, VECTORS, SECONDS, META = "keys.bin", "vectors.f32", "seconds.f32", "meta.json"


@dataclass(frozen=True, slots=True)
class Fetched:
    """Vectors, one row per text, and the seconds that encoding them took, now or in an earlier run.

    ``known`` counts the distinct texts that were already on disk.
    """

    vectors: Vectors
    seconds: float
    known: int


class EmbeddingCache:
    """A cache of vectors in a folder that several processes may share.

    Args:
        root: The folder; it is created when the first vectors are written.
        max_bytes: Above this size the least recently used models are dropped.
    """

    def __init__(self, root: Path, *, max_bytes: int = 10 * 2**30) -> None:
        if max_bytes < 0:
            raise ConfigError(f"The embedding cache may hold {max_bytes} bytes: give 0 or more.")
        self.root = root
        self.max_bytes = max_bytes

    def get_or_encode(self, fingerprint: str, role: Role, texts: Sequence[str], encode: Encode) -> Vectors:
        """Return the vectors alone; see ``fetch``."""
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
        """Return the vectors of ``texts``; encode those that are not on disk yet.

        Args:
            fingerprint: The model's digest, which changes with its weights and prompts.
            role: Whether the texts are queries or passages, which models may treat differently, or pairs of
                both, which get a score (a vector of one number).
            texts: What to look up; a text that occurs twice is encoded once.
            encode: Encodes up to 4,096 texts, shape (texts, dimension). It is called once per block, and a
                block is on disk before the next one starts. It is not called if nothing is missing, except
                for an empty ``texts``, since it alone knows the dimension.
            prepare: Called before ``encode`` and not measured; it may load the model.

        Returns:
            float32 vectors, shape (len(texts), dimension), and the seconds that encoding them took.
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
        on_disk = set(stored.keys) if stored else set()
        missing = [key for key in wanted if key not in on_disk]
        for start in range(0, len(missing), BLOCK):
            block = {key: wanted[key] for key in missing[start : start + BLOCK]}
            parts += self._encoded(folder, block, encode, prepare)
        if missing:
            self._drop_oldest(keep=folder)
        log.debug("%d of %d vectors taken from %s", known, len(texts), folder)
        row_of = {key: row for row, key in enumerate(key for part in parts for key in part.keys)}
        rows = [row_of[key] for key in keys]
        vectors = parts[0].vectors if len(parts) == 1 else np.concatenate([part.vectors for part in parts])
        in_order = rows == list(range(len(row_of)))
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
                seconds = _shares(texts, time.perf_counter() - start)
                parts.append(_Rows(list(block), vectors, seconds))
                self._append(folder, parts[-1])
        return parts

    def _append(self, folder: Path, rows: _Rows) -> None:
        """Append rows; the caller holds the lock."""
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
            count = _complete_rows(folder, dimension)
            _write_at(folder / VECTORS, count * dimension * FLOAT_BYTES, rows.vectors.tobytes())
            _write_at(folder / SECONDS, count * FLOAT_BYTES, rows.seconds.tobytes())
            _write_at(folder / KEYS, count * KEY_BYTES, b"".join(rows.keys))

    def _drop_oldest(self, *, keep: Path) -> None:
        """Drop models, the least recently used first, until the cache fits."""
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


def fetch_in_blocks(
    cache: EmbeddingCache | None,
    fingerprint: str,
    role: Role,
    texts: Sequence[str],
    encode: Encode,
    *,
    label: str,
    prepare: Callable[[], object] = lambda: None,
) -> Fetched:
    """Fetch vectors from a slow model, with a progress bar over all texts; at most 512 are lost to a kill.

    Args:
        cache: Where vectors are kept on disk; None keeps none, and no seconds are measured.
        label: The progress bar's text.
        fingerprint, role, texts, encode, prepare: As for ``EmbeddingCache.fetch``.
    """
    import numpy as np

    if not texts:
        return Fetched(encode(texts), 0.0, 0)
    row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    distinct, parts = list(row_of), []
    with progress(label, total=len(distinct)) as bar:
        for start in range(0, len(distinct), SLOW_BLOCK):
            block = distinct[start : start + SLOW_BLOCK]
            if cache is None:
                parts.append(Fetched(encode(block), 0.0, 0))
            else:
                parts.append(cache.fetch(fingerprint, role, block, encode, prepare=prepare))
            bar.advance(len(block))
    vectors = np.concatenate([part.vectors for part in parts])[[row_of[text] for text in texts]]
    return Fetched(vectors, sum(part.seconds for part in parts), sum(part.known for part in parts))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the model's lock; log a line if another process has it, since its work may take long."""
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
    """Divide the seconds that a block took among its texts, by their lengths."""
    import numpy as np

    lengths = np.array([len(text) + 1 for text in texts], dtype=np.float64)
    shares: npt.NDArray[np.float32] = (seconds * lengths / lengths.sum()).astype(np.float32)
    return shares


def _key(role: Role, text: str) -> bytes:
    return hashlib.sha256(f"{role}\0{text}".encode(errors="surrogatepass")).digest()[:KEY_BYTES]


def _stored(folder: Path, keys: Sequence[bytes]) -> _Rows | None:
    """Return the rows of those ``keys`` that are on disk, in the same order; None if there are none."""
    import numpy as np

    try:
        dimension = _dimension(folder)
        rows = _complete_rows(folder, dimension or 1)
        if dimension is None or rows == 0:
            return None
        digests = (folder / KEYS).read_bytes()[: rows * KEY_BYTES]
        row_of = {digests[row * KEY_BYTES : (row + 1) * KEY_BYTES]: row for row in range(rows)}
        known = [key for key in keys if key in row_of]
        if not known:
            return None
        vectors = np.memmap(folder / VECTORS, dtype=np.float32, mode="r", shape=(rows, dimension))
        seconds = np.memmap(folder / SECONDS, dtype=np.float32, mode="r", shape=(rows,))
        os.utime(folder / KEYS)
    except FileNotFoundError:  # another process has just dropped this model
        return None
    wanted = [row_of[key] for key in known]
    return _Rows(known, np.asarray(vectors[wanted]), np.asarray(seconds[wanted]))


def _dimension(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / META).read_text(encoding="utf-8"))["dimension"])
    except FileNotFoundError:
        return None


def _row_bytes(dimension: int) -> int:
    return (dimension + 1) * FLOAT_BYTES + KEY_BYTES


def _complete_rows(folder: Path, dimension: int) -> int:
    sizes = ((KEYS, KEY_BYTES), (VECTORS, dimension * FLOAT_BYTES), (SECONDS, FLOAT_BYTES))
    return min(_bytes(folder / name) // size for name, size in sizes)


def _write_at(file: Path, position: int, data: bytes) -> None:
    """Write ``data`` at ``position``; anything beyond it is the torn end of a killed write and is cut off."""
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
