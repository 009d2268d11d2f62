"""One model's vectors in a Chroma database: what to add, what to remove, and whether it fits the model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from embexp.data.records import Chunk
from embexp.errors import RetrievalError
from embexp.models.encoder import Embedder
from embexp.retrieval.index import Hit, blocks, passage_vectors
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from embexp.models.embedding_cache import Vectors

log = logging.getLogger(__name__)


QUERIES_AT_ONCE = 256
IDS_AT_ONCE = 10_000


class Collection:
    """A collection that is made with its first vectors, and checked when it is there already.

    Args:
        client: The open Chroma client.
        found: The collection of that name, or None if there is none yet.
        name: Its name.
        metadata: The model's fingerprint and the index's settings, which must be the same at every opening.
        place: What to call the database in a message.
        remedy: What to do about a collection that does not fit.

    Raises:
        RetrievalError: The collection was built with another model or other settings.
    """

    def __init__(
        self,
        client: Any,
        found: Any,
        *,
        name: str,
        metadata: dict[str, str | int],
        place: str,
        remedy: str,
    ) -> None:
        self._client = client
        self._name = name
        self._metadata = metadata
        self._place = place
        self._remedy = remedy
        self._collection = found
        if found is not None:
            self._check_settings()

    def _check_settings(self) -> None:
        held = self._collection.metadata or {}
        for key, value in self._metadata.items():
            self._check(key, held.get(key), value)
        # The metadata is ours to write; the space here is what Chroma really uses.
        space = (self._collection.configuration.get("hnsw") or {}).get("space")
        self._check("space", space, self._metadata["space"])

    def _check(self, key: str, held: object, asked: object) -> None:
        if held != asked:
            raise RetrievalError(
                f"The collection {self._name} of {self._place} was built with {key} {held}, not {asked}: "
                f"{self._remedy}."
            )

    def update(self, chunks: Iterable[Chunk], embedder: Embedder, batch: int) -> int:
        """Add what is new or changed, remove what is gone, and return how many chunks there are."""
        batch = min(batch, self._client.get_max_batch_size())
        seen: set[str] = set()
        for block in blocks(chunks):
            # Chroma refuses an id that comes twice in one call; a chunk's id stands for its content.
            fresh = {chunk.id: chunk for chunk in block if chunk.id not in seen}
            seen.update(fresh)
            self._add(self._without_known(list(fresh.values()), batch), embedder, batch)
        if self._collection is not None and self._collection.count() > len(seen):
            self._remove_all_but(seen, batch)
        return len(seen)

    def _without_known(self, chunks: list[Chunk], batch: int) -> list[Chunk]:
        if self._collection is None:
            return chunks
        held: dict[str, str] = {}
        for part in _slices([chunk.id for chunk in chunks], batch):
            found = self._collection.get(ids=part, include=["metadatas"])
            digests = [metadata["digest"] for metadata in found["metadatas"]]
            held.update(zip(found["ids"], digests, strict=True))
        return [chunk for chunk in chunks if held.get(chunk.id) != digest_of(chunk)]

    def _add(self, chunks: list[Chunk], embedder: Embedder, batch: int) -> None:
        if not chunks:
            return
        vectors = passage_vectors(chunks, embedder)
        collection = self._for_dimension(vectors.shape[1])
        for rows in _slices(range(len(chunks)), batch):
            collection.upsert(
                ids=[chunks[row].id for row in rows],
                embeddings=vectors[rows],
                metadatas=[{"digest": digest_of(chunks[row])} for row in rows],
            )
        log.info("%d vectors written to %s", len(chunks), self._place)

    def _for_dimension(self, dimension: int) -> Any:
        if self._collection is None:
            settings = {key: value for key, value in self._metadata.items() if key != "fingerprint"}
            self._collection = self._client.create_collection(
                self._name,
                embedding_function=None,
                configuration={"hnsw": settings},
                metadata={**self._metadata, "dimension": dimension},
                get_or_create=True,
            )
        self._check("dimension", self._collection.metadata.get("dimension"), dimension)
        return self._collection

    def _remove_all_but(self, keep: set[str], batch: int) -> None:
        stale: list[str] = []
        for offset in range(0, self._collection.count(), IDS_AT_ONCE):
            ids = self._collection.get(include=[], limit=IDS_AT_ONCE, offset=offset)["ids"]
            stale.extend(id for id in ids if id not in keep)
        for part in _slices(stale, batch):
            self._collection.delete(ids=part)
        log.info("%d vectors of chunks that are gone removed from %s", len(stale), self._place)

    def nearest(self, vectors: Vectors, k: int) -> list[list[Hit]]:
        """Return the nearest chunks of query vectors, shape (queries, dimension)."""
        hits: list[list[Hit]] = []
        count = self._collection.count()
        for rows in _slices(range(len(vectors)), QUERIES_AT_ONCE):
            found = self._collection.query(
                query_embeddings=vectors[rows], n_results=min(k, count), include=["distances"]
            )
            pairs = zip(found["ids"], found["distances"], strict=True)
            hits.extend(self._hits(ids, distances) for ids, distances in pairs)
        return hits

    def _hits(self, ids: Sequence[str], distances: Sequence[float]) -> list[Hit]:
        # For unit vectors cosine and ip give 1 - cos, and l2 its square: |a - b|^2 = 2 - 2 cos.
        scale = 0.5 if self._metadata["space"] == "l2" else 1.0
        hits = [Hit(id, 1.0 - scale * float(distance)) for id, distance in zip(ids, distances, strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def digest_of(chunk: Chunk) -> str:
    """Return what tells a chunk from one of the same id with another text."""
    return sha256_of(chunk.id, chunk.passage)[:32]


def _slices(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
