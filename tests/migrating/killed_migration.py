"""A migration with small models that may kill itself: ``python -m tests.migrating.killed_migration``."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from chromadb import Collection

from embexp.migrating.reembedding import ChromaMigration, reembed
from embexp.models.encoder import ModelEmbedder
from embexp.models.tiny import TinyModel

DIMENSION = 16


def embedder(seed: int) -> ModelEmbedder:
    """A model of that seed."""
    model = TinyModel(dimension=DIMENSION, layers=1, seed=seed)
    return ModelEmbedder(model.load(), fingerprint=model.fingerprint(), batch_size=256)


class Logged:
    """The tuned model, which writes each text that it embeds to a file."""

    name = address = ""
    dimension = DIMENSION

    def __init__(self, log: Path) -> None:
        self._embedder = embedder(1)
        self._log = log
        self.fingerprint = self._embedder.fingerprint

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        with self._log.open("a", encoding="utf-8") as stream:
            stream.writelines(f"{text}\n" for text in texts)
        return self._embedder.encode_passages(texts)

    encode_queries = encode_passages


def kill_after(adds: int, seconds: float) -> None:
    """Let the process die some time after it has begun to write a certain batch."""
    original, count = Collection.add, 0

    def add(self: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        if count == adds:
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
        original(self, **named)

    Collection.add = add


def main(path: str, log: str, adds: str = "0", seconds: str = "0") -> None:
    """Migrate the collection ``manual`` in ``path``."""
    if int(adds):
        kill_after(int(adds), float(seconds))
    reembed(ChromaMigration(collection="manual", path=path, sample=64), Logged(Path(log)), embedder(0))


if __name__ == "__main__":
    main(*sys.argv[1:])
