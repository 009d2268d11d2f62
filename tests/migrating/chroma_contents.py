"""Chroma collections as other programs write them, and what they hold."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import chromadb

Contents = dict[str, tuple[Any, ...]]


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A client of the database in a folder; chromadb keeps it open for as long as anything refers to it."""
    client = chromadb.PersistentClient(str(path), settings=chromadb.Settings(anonymized_telemetry=False))
    try:
        yield client
    finally:
        client.close()
        del client
        gc.collect()


def contents(path: Path) -> dict[str, Contents]:
    """Everything that a database holds: collection -> id -> text, metadata, vector."""
    with opened(path) as client:
        found = {}
        for each in client.list_collections():
            rows = client.get_collection(each.name, embedding_function=None).get(
                include=["documents", "metadatas", "embeddings"]
            )
            vectors = [tuple(vector.tolist()) for vector in rows["embeddings"]]
            found[each.name] = {
                id: (text, tuple(sorted((metadata or {}).items())), vector)
                for id, text, metadata, vector in zip(
                    *(rows["ids"], rows["documents"], rows["metadatas"], vectors), strict=True
                )
            }
        return found
