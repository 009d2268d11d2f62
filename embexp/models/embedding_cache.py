"""Vectors on disk, so that no text goes through the same model twice.

One folder per model fingerprint holds ``keys.bin`` (a 16-byte digest for each row), ``vectors.f32`` (the
rows, float32) and ``meta.json`` (their dimension). Both files only grow, and vectors are written before
their keys: whatever a kill leaves, the first ``min(keys, vectors)`` rows are whole, and the next writer
cuts off the rest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout

from embexp.errors import ConfigError, ModelError
from embexp.storage.files import space_checked, write_json

if TYPE_CHECKING:
    from embexp.protocols import Vectors

log = logging.getLogger(__name__)

Role = Literal["query", "passage", "pair"]
Encode = Callable[[Sequence[str]], "Vectors"]
BLOCK = 4096
"""Texts that are encoded before their vectors are written: the most that a kill can cost."""
KEY_BYTES = 16
FLOAT_BYTES = 4
KEYS, VECTORS, META = "keys.bin", "vectors.f32", "meta.json"


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
        """Return the vectors of ``texts``, encoding those that are not on disk yet.

        Args:
            fingerprint: The model's digest; other weights or prompts have another one.
            role: Whether the texts are queries or passages, which models may treat differently, or pairs of
                both, which get a score (a vector of one number).
            texts: What to look up; a text that comes twice is encoded once.
            encode: Encodes up to 4,096 texts, shape (texts, dimension). It is called once per block, and a
                block is on disk before the next one starts; it is not called if nothing is missing, but
                for an empty ``texts``, where it alone knows the dimension.

        Returns:
            float32, shape (len(texts), dimension).
        """
        import numpy as np

        if not texts:
            return encode(texts)
        folder = self.root / hashlib.sha256(fingerprint.encode()).hexdigest()[:32]
        keys = [_key(role, text) for text in texts]
        known, stored = _stored(folder, keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        parts = [] if stored is None else [stored]
        fresh = list(missing.items())
        for start in range(0, len(fresh), BLOCK):
            block = fresh[start : start + BLOCK]
            parts.append(np.asarray(encode([text for _, text in block]), dtype=np.float32))
            self._append(folder, [key for key, _ in block], parts[-1])
        if fresh:
            self._drop_oldest(keep=folder)
        log.debug("%d of %d vectors taken from %s", len(known), len(texts), folder)
        place = {key: row for row, key in enumerate([*known, *missing])}
        return np.concatenate(parts)[[place[key] for key in keys]]

    def _append(self, folder: Path, keys: Sequence[bytes], vectors: Vectors) -> None:
        if len(keys) * (vectors.shape[1] * FLOAT_BYTES + KEY_BYTES) + _size(folder) > self.max_bytes:
            log.warning("The embedding cache %s is full (%d bytes): not kept.", self.root, self.max_bytes)
            return
        with space_checked(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):
                folder.mkdir(exist_ok=True)
                dimension = _dimension(folder)
                if dimension is None:
                    dimension = vectors.shape[1]
                    write_json(folder / META, {"dimension": dimension})
                if dimension != vectors.shape[1]:
                    raise ModelError(
                        f"{folder} holds vectors of dimension {dimension}, but the model gives "
                        f"{vectors.shape[1]}: delete that folder."
                    )
                rows = _whole_rows(folder, dimension)
                _write_at(folder / VECTORS, rows * dimension * FLOAT_BYTES, vectors.tobytes())
                _write_at(folder / KEYS, rows * KEY_BYTES, b"".join(keys))

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


def _key(role: Role, text: str) -> bytes:
    return hashlib.sha256(f"{role}\0{text}".encode(errors="surrogatepass")).digest()[:KEY_BYTES]


def _stored(folder: Path, keys: Sequence[bytes]) -> tuple[list[bytes], Vectors | None]:
    """Return those of ``keys`` that are on disk, and their vectors in the same order."""
    import numpy as np

    try:
        dimension = _dimension(folder)
        rows = _whole_rows(folder, dimension or 1)
        if dimension is None or rows == 0:
            return [], None
        digests = (folder / KEYS).read_bytes()[: rows * KEY_BYTES]
        place = {digests[row * KEY_BYTES : (row + 1) * KEY_BYTES]: row for row in range(rows)}
        known = [key for key in dict.fromkeys(keys) if key in place]
        if not known:
            return [], None
        vectors = np.memmap(folder / VECTORS, dtype=np.float32, mode="r", shape=(rows, dimension))
        os.utime(folder / KEYS)
    except FileNotFoundError:  # another process has just dropped this model
        return [], None
    return known, np.asarray(vectors[[place[key] for key in known]])


def _dimension(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / META).read_text(encoding="utf-8"))["dimension"])
    except FileNotFoundError:
        return None


def _whole_rows(folder: Path, dimension: int) -> int:
    return min(_bytes(folder / KEYS) // KEY_BYTES, _bytes(folder / VECTORS) // (dimension * FLOAT_BYTES))


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
    return _bytes(folder / KEYS) + _bytes(folder / VECTORS)


def _last_used(folder: Path) -> float:
    keys = folder / KEYS
    return keys.stat().st_mtime if keys.exists() else 0.0
