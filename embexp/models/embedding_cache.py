"""Vectors on disk, so that no text goes through the same model twice.

There is one folder per model fingerprint, whose files ``vector_files`` describes. A model's lock is held
while a block is encoded and written, so that processes that need the same vectors at the same time wait for
the first of them instead of encoding twice.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout

from embexp.errors import ConfigError, DamagedError
from embexp.models.vector_files import (
    KEY_BYTES,
    KeyRows,
    Rows,
    Vectors,
    append_rows,
    files_size,
    find_damaged_vectors,
    last_used,
    read_rows,
    readable_dimension,
    repair_vectors,
    row_bytes,
    stored_rows,
)
from embexp.progress import job, progress, skip_in_job
from embexp.storage.files import space_checked

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

log = logging.getLogger(__name__)


Role = Literal["query", "passage", "pair"]
Encode = Callable[[Sequence[str]], "Vectors"]
BLOCK = 4096
"""Texts that are encoded before their vectors are written: at most these are lost to a kill."""
SLOW_BLOCK = 512
"""The same for models that take long for a text, such as cross-encoders."""
CHECKED_WHOLE = 64 << 20
"""Folders up to this size are checked whole before vectors are added: that takes some 30 ms at most."""


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
        self._key_rows: dict[Path, KeyRows] = {}

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
        block: int | None = None,
        label: str = "",
    ) -> Fetched:
        """Return the vectors of ``texts``; encode those that are not on disk yet.

        Args:
            fingerprint: The model's digest, which changes with its weights and prompts.
            role: Whether the texts are queries or passages, which models may treat differently, or pairs of
                both, which get a score (a vector of one number).
            texts: What to look up; a text that occurs twice is encoded once.
            encode: Encodes up to ``block`` texts, shape (texts, dimension). It is called once per block, and
                a block is on disk before the next one starts. It is not called if nothing is missing, except
                for an empty ``texts``, since it alone knows the dimension.
            prepare: Called before ``encode`` and not measured; it may load the model.
            block: The most texts that are encoded before their vectors are written; None means 4,096.
            label: The text of the bars that ``encode`` opens, which become one bar for all blocks.

        Returns:
            float32 vectors, shape (len(texts), dimension), and the seconds that encoding them took.
        """
        import numpy as np

        if not texts:
            return Fetched(encode(texts), 0.0, 0)
        folder = self._folder(fingerprint)
        keys = [_key(role, text) for text in texts]
        wanted = dict(zip(keys, texts, strict=True))
        stored = self._stored(folder, list(wanted))
        parts = [stored] if stored else []
        known = len(stored.keys) if stored else 0
        on_disk = set(stored.keys) if stored else set()
        missing = [key for key in wanted if key not in on_disk]
        skip_in_job(label, len(texts) - len(missing))
        if missing:
            _repair_lost_keys(folder)
            with job(label, total=len(missing)) if label else nullcontext():
                for part in _slices(missing, block or BLOCK):
                    parts += self._encoded(folder, {key: wanted[key] for key in part}, encode, prepare)
            self._drop_oldest(keep=folder)
        log.debug("%d of %d vectors taken from %s", known, len(texts), folder)
        row_of = {key: row for row, key in enumerate(key for part in parts for key in part.keys)}
        rows = [row_of[key] for key in keys]
        vectors = parts[0].vectors if len(parts) == 1 else np.concatenate([part.vectors for part in parts])
        in_order = rows == list(range(len(row_of)))
        seconds = float(sum(part.seconds.sum() for part in parts))
        return Fetched(vectors if in_order else vectors[rows], seconds, known)

    def known(self, fingerprint: str, role: Role, texts: Sequence[str]) -> int:
        """Return how many of the distinct ``texts`` have vectors on disk."""
        stored = self._stored(self._folder(fingerprint), [_key(role, text) for text in dict.fromkeys(texts)])
        return len(stored.keys) if stored else 0

    def spending_file(self, fingerprint: str) -> Path:
        """Return the file that records what a service charged for a model's vectors; it outlives them."""
        return self._folder(fingerprint).with_suffix(".spending.jsonl")

    def dimension(self, fingerprint: str) -> int | None:
        """Return the length of a model's vectors; None if there are none on disk."""
        return readable_dimension(self._folder(fingerprint))

    def adopt(self, other: EmbeddingCache, fingerprint: str, *, as_fingerprint: str) -> int:
        """Take over a model's vectors from another cache, as those of a model that has the same weights.

        Args:
            other: The other cache.
            fingerprint: The model's digest there.
            as_fingerprint: The digest here.

        Returns:
            How many vectors were new.
        """
        theirs = stored_rows(other._folder(fingerprint))
        if theirs is None:
            return 0
        folder = self._folder(as_fingerprint)
        with _locked(folder):
            mine = self._stored(folder, theirs.keys, locked=True)
            new = theirs.without(set(mine.keys) if mine else set())
            if new.keys:
                self._append(folder, new)
        self._drop_oldest(keep=folder)
        return len(new.keys)

    def _folder(self, fingerprint: str) -> Path:
        return self.root / hashlib.sha256(fingerprint.encode()).hexdigest()[:32]

    def _encoded(
        self, folder: Path, block: dict[bytes, str], encode: Encode, prepare: Callable[[], object]
    ) -> list[Rows]:
        """Encode a block and write it, unless another process has done so in the meantime."""
        import numpy as np

        with _locked(folder):
            stored = self._stored(folder, list(block), locked=True)
            parts = [stored] if stored else []
            for key in stored.keys if stored else ():
                del block[key]
            if block:
                prepare()
                texts = list(block.values())
                start = time.perf_counter()
                vectors = np.asarray(encode(texts), dtype=np.float32)
                seconds = _shares(texts, time.perf_counter() - start)
                parts.append(Rows(list(block), vectors, seconds))
                self._append(folder, parts[-1])
        return parts

    def _stored(self, folder: Path, keys: Sequence[bytes], *, locked: bool = False) -> Rows | None:
        """Return the rows of those ``keys`` that are on disk, in the same order; None if there are none.

        Damage is told, and repaired: damaged rows count as missing.

        Args:
            folder: The model's folder.
            keys: What to look up.
            locked: Whether the caller holds the model's lock.
        """
        for _ in range(2):
            try:
                return read_rows(folder, keys, self._key_rows.setdefault(folder, KeyRows()))
            except DamagedError as error:
                self._key_rows.pop(folder, None)
                with nullcontext() if locked else _locked(folder):
                    _repair(folder, error)
            except FileNotFoundError:  # another process has just dropped this model
                self._key_rows.pop(folder, None)
                return None
        return None

    def _append(self, folder: Path, rows: Rows) -> None:
        """Append rows; the caller holds the lock."""
        width = rows.vectors.shape[1]
        if len(rows.keys) * row_bytes(width) + files_size(folder) > self.max_bytes:
            log.warning(
                "The embedding cache %s is full (%d bytes): new vectors are not stored.",
                *(self.root, self.max_bytes),
            )
            return
        try:
            with space_checked(folder):
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    append_rows(folder, rows)
                except DamagedError as error:  # of rows that nobody asked for, or of the dimension
                    _repair(folder, error)
                    append_rows(folder, rows)
        except FileNotFoundError:
            log.warning("%s was deleted while vectors were written to it: they are not kept.", folder)

    def _drop_oldest(self, *, keep: Path) -> None:
        """Drop models, the least recently used first, until the cache fits."""
        folders = sorted((path for path in self.root.glob("*") if path.is_dir()), key=last_used)
        total = sum(files_size(folder) for folder in folders)
        for folder in folders:
            if total <= self.max_bytes:
                return
            if folder == keep:
                continue
            try:
                with FileLock(folder.with_suffix(".lock"), timeout=0):
                    total -= files_size(folder)
                    shutil.rmtree(folder, ignore_errors=True)
                    log.info("Dropped the vectors in %s: the cache holds %d bytes", folder, self.max_bytes)
            except Timeout:
                continue


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


def _slices(keys: Sequence[bytes], size: int) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _repair_lost_keys(folder: Path) -> None:
    """Check all rows of a small folder: a row whose key was damaged is one that nobody asks for."""
    if 0 < files_size(folder) <= CHECKED_WHOLE and find_damaged_vectors(folder):
        with _locked(folder):
            if problem := find_damaged_vectors(folder):
                _repair(folder, DamagedError(problem))


def _repair(folder: Path, error: DamagedError) -> None:
    """Give up damaged rows, and say so; the caller holds the lock."""
    kept, lost = repair_vectors(folder)
    if lost:
        log.warning(
            "The vectors in %s are damaged (%s): %s of %s are lost and encoded again.",
            *(folder, error, f"{lost:,}", f"{kept + lost:,}"),
        )
