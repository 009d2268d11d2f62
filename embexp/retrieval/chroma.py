"""Chroma: an approximate index that is kept on disk or on a server. The only file that imports chromadb."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Interval
from filelock import FileLock, Timeout

from embexp.data.records import Chunk
from embexp.errors import ConfigError, RetrievalError
from embexp.memory import address_space_left, warn_of_memory
from embexp.models.encoder import ENCODING_PASSAGES, Embedder
from embexp.progress import Bar, job, progress, skip_in_job
from embexp.ranges import Seconds, check_ranges
from embexp.retrieval.index import Hit, blocks, check_k, empty_corpus, passage_vectors, query_vectors
from embexp.storage.files import disk_problem, sha256_of, space_checked

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors

log = logging.getLogger(__name__)

Space = Literal["cosine", "ip", "l2"]
PATIENCE_SECONDS = 5.0
COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
TOKEN_PROVIDER = "chromadb.auth.token_authn.TokenAuthClientProvider"
QUERIES_PER_CALL = 256
IDS_PER_CALL = 10_000
BYTES_PER_NEIGHBOR = 10
"""Of a vector, for each of ``max_neighbors``: two links of four bytes on the lowest layer, and some above."""
BYTES_PER_VECTOR = 600
"""Beside its numbers and links: its id, twice, and its number."""
LEAST_ADDRESSES = 2**29
"""Bytes of address space below which an error of Chroma is put down to their want."""
NAMES_PER_CALL = 100
DATABASE = "chroma.sqlite3"
"""The file in the folder of a database."""
LEAST_NAME = 3
"""Characters that Chroma asks of a collection's name."""


@dataclass(frozen=True, kw_only=True)
class ChromaRetriever:
    """Keeps the vectors in a Chroma database in a folder, with one collection per model.

    A collection is called like the embedder, such as ``tuned-pydocs``. It holds the texts and where they come
    from, so that any program that reads Chroma can search it. Indexing again adds what is new or changed and
    removes what is gone. A folder can be used by one process at a time; others wait for it.

    Args:
        space: The distance between vectors. They have unit length, so all three give the same ranking.
        ef_construction: Neighbours considered when a vector is added: more is better and slower.
        ef_search: Neighbours considered in a search: more improves recall and is slower.
        max_neighbors: Links kept per vector: more improves recall and takes more memory.
        batch: Vectors added per call.
        lock_seconds: How long to wait for another process that uses the folder.
    """

    approximate: ClassVar[bool] = True
    space: Space = "cosine"
    ef_construction: Annotated[int, Interval(ge=1, le=1_000_000)] = 200
    ef_search: Annotated[int, Interval(ge=1, le=1_000_000)] = 100
    max_neighbors: Annotated[int, Interval(ge=1, le=1_000_000)] = 16
    batch: Annotated[int, Interval(ge=1, le=1_000_000)] = 5_000
    lock_seconds: Seconds = 30.0

    def __post_init__(self) -> None:
        check_ranges(self, "retriever")

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> ChromaIndex:
        """Bring the model's collection under ``path`` up to date with the chunks.

        Raises:
            RetrievalError: There are no chunks, the folder is in use or broken, or the collection in it was
                built with another model or other settings.
        """
        index = self.open(embedder, path=path)
        with space_checked(path):
            count = index.update(chunks, self.batch)
        if not count:
            raise empty_corpus(path)
        return index

    def open(self, embedder: Embedder, *, path: Path) -> ChromaIndex:
        """Open the model's collection as it is; it then names the folder in which the model is now.

        Raises:
            RetrievalError: The folder is in use or broken, or the collection was built with other settings.
        """
        return ChromaIndex(
            _open_folder(path, self.lock_seconds),
            embedder,
            name=self._name(embedder),
            settings=_index_settings(self),
            location=f"the Chroma database in {path}",
            remedy=f"delete {path} and run again; its vectors are written anew",
        )

    def refuse_other_model(self, embedder: Embedder, *, path: Path) -> None:
        """Refuse a collection of this model's name that another model has filled; nothing is written.

        Raises:
            RetrievalError: It is one, or the folder is in use or broken.
        """
        if not path.is_dir():
            return
        store, name = _open_folder(path, self.lock_seconds), self._name(embedder)
        with _explained(f"the Chroma database in {path}", f"delete {path} and search again"):
            collection = store.collection(name)
        if collection is None or (collection.metadata or {}).get("fingerprint") == embedder.fingerprint:
            return
        model = embedder.address or "the model that the run names"
        raise RetrievalError(
            f"The collection {name} of the Chroma database in {path} was made by another model than {model}, "
            "and vectors of two models cannot be compared. Put the model back that the run left, or move "
            f"{path} away and search again, which embeds the corpus with this model."
        )

    def _name(self, embedder: Embedder) -> str:
        return _collection_name(embedder) or f"embexp-{sha256_of(embedder.fingerprint)[:32]}"


@dataclass(frozen=True, kw_only=True)
class ChromaServerRetriever:
    """Keeps the vectors on a Chroma server, which many processes can use at once.

    Each model and corpus has its own collection, whose name ends with a hash of both: the same pair reuses
    its collection, and no run changes the collection that another one searches. Old collections stay until
    you delete them.

    Args:
        host: The server's name or address.
        port: The server's port.
        ssl: Whether to use HTTPS.
        token_env: The environment variable that holds the access token. With None, or if it is not set, no
            token is sent. The token itself never stands in a configuration.
        collection: The prefix of the collections' names.
        space: The distance between vectors. They have unit length, so all three give the same ranking.
        ef_construction: Neighbours considered when a vector is added: more is better and slower.
        ef_search: Neighbours considered in a search: more improves recall and is slower.
        max_neighbors: Links kept per vector: more improves recall and takes more memory.
        batch: Vectors sent per call.
    """

    approximate: ClassVar[bool] = True
    host: str = "localhost"
    port: Annotated[int, Interval(ge=1, le=65_535)] = 8000
    ssl: bool = False
    token_env: str | None = "CHROMA_TOKEN"
    collection: str = "embexp"
    space: Space = "cosine"
    ef_construction: Annotated[int, Interval(ge=1, le=1_000_000)] = 200
    ef_search: Annotated[int, Interval(ge=1, le=1_000_000)] = 100
    max_neighbors: Annotated[int, Interval(ge=1, le=1_000_000)] = 16
    batch: Annotated[int, Interval(ge=1, le=1_000_000)] = 1_000

    def __post_init__(self) -> None:
        check_ranges(self, "retriever")
        if not COLLECTION_NAME.fullmatch(self.collection):
            raise ConfigError(
                f"retriever.collection is {self.collection!r}: give up to 100 letters, digits, hyphens and "
                "underscores, the first one a letter or digit."
            )

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> ChromaIndex:
        """Bring the collection of this model and corpus up to date; nothing is written under ``path``.

        Raises:
            RetrievalError: There are no chunks, the server cannot be reached or refuses the token, or the
                collection was built with other settings.
        """
        corpus = list(chunks)
        if not corpus:
            raise empty_corpus(path)
        digest = sha256_of(embedder.fingerprint, sorted(_digest(chunk) for chunk in corpus))
        named = _collection_name(embedder)
        name = f"{self.collection}-{named}-{digest[:12]}" if named else f"{self.collection}-{digest[:32]}"
        location = f"the Chroma server at {self.host}:{self.port}"
        remedy = (
            f"check retriever.host, port and ssl; if it asks for a token, set "
            f"{self.token_env or 'the variable that retriever.token_env names'}; if the collection {name} is "
            "the cause, delete it or choose another retriever.collection"
        )
        index = ChromaIndex(
            _Store(_server_client(self.host, self.port, self.ssl, self.token_env, location, remedy)),
            embedder,
            name=name,
            settings=_index_settings(self),
            location=location,
            remedy=remedy,
        )
        index.update(corpus, self.batch)
        return index


class ChromaIndex:
    """One model's collection in a Chroma database; a hit's score is its cosine similarity to the query.

    The collection is created with its first vectors. An existing one must have been built with the same
    model and settings; one of another model that has the same name is written anew.

    Args:
        store: The open database.
        embedder: The model that encodes chunks and queries.
        name: The collection's name.
        settings: The parameters of the index (HNSW).
        location: What error messages call the database.
        remedy: What error messages advise.

    Raises:
        RetrievalError: The collection was built with other settings.
    """

    def __init__(
        self,
        store: _Store,
        embedder: Embedder,
        *,
        name: str,
        settings: dict[str, str | int],
        location: str,
        remedy: str,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._name = name
        self._settings = settings
        self._metadata = {"fingerprint": embedder.fingerprint, **settings}
        self._location = location
        self._remedy = remedy
        self._function = _embedding_function(embedder)
        with _explained(location, remedy):
            self._collection = store.collection(name)
            if self._collection is not None and self._is_of_another_model():
                log.info("The collection %s of %s is of another model: it is written anew", name, location)
                store.client.delete_collection(name)
                self._collection = None
        if self._collection is not None:
            self._check_settings()
            self._point_to_model()

    def _is_of_another_model(self) -> bool:
        """Return whether the name was taken by another model, as after a run with other options."""
        stored = (self._collection.metadata or {}).get("fingerprint")
        return bool(self._embedder.name) and stored != self._embedder.fingerprint

    def _check_settings(self) -> None:
        stored = self._collection.metadata or {}
        for key, value in self._metadata.items():
            self._check(key, stored.get(key), value)
        # The metadata is written by us; this is the space that Chroma really uses. Chroma's ``configuration``
        # would load the model that the collection names, its JSON does not.
        space = (self._collection.configuration_json.get("hnsw") or {}).get("space")
        self._check("space", space, self._settings["space"])

    def _point_to_model(self) -> None:
        """Let the collection name the folder in which the model is now: a run may have been copied."""
        stored = (self._collection.configuration_json.get("embedding_function") or {}).get("config") or {}
        if self._function is None or stored.get("model_name") == self._embedder.address:
            return
        with _explained(self._location, self._remedy, ValueError):
            self._collection.modify(configuration={"embedding_function": self._function})

    def _check(self, key: str, stored: object, expected: object) -> None:
        if stored != expected:
            raise RetrievalError(
                f"The collection {self._name} of {self._location} was built with {key} {stored}, not "
                f"{expected}: {self._remedy}."
            )

    def update(self, chunks: Iterable[Chunk], batch: int) -> int:
        """Add what is new or changed, remove what is gone, and return the number of chunks.

        Args:
            chunks: The whole corpus.
            batch: Vectors written per call.

        Raises:
            RetrievalError: A vector is not finite, or the database fails.
        """
        corpus = chunks if isinstance(chunks, Sequence) else list(chunks)
        total, is_new = len(corpus), self._collection is None
        encoding = job(ENCODING_PASSAGES, total=total)
        writing = progress(f"Writing vectors to {self._location}", total=total)
        with _explained(self._location, self._remedy), encoding, writing as written:
            batch = min(batch, self._store.client.get_max_batch_size())
            ids: set[str] = set()
            for block in blocks(corpus):
                # Chroma refuses an id that occurs twice in one call; a chunk's id is a hash of its content.
                distinct = {chunk.id: chunk for chunk in block if chunk.id not in ids}
                ids.update(distinct)
                wanted = list(distinct.values())
                if not is_new:
                    wanted = self._new_or_changed(wanted, batch)
                skip_in_job(ENCODING_PASSAGES, len(block) - len(wanted))
                written.skip(len(block) - len(wanted))
                self._add(wanted, batch, written, total=total)
            if self._collection is not None and self._collection.count() > len(ids):
                self._remove_all_but(ids, batch)
            return len(ids)

    def _new_or_changed(self, chunks: list[Chunk], batch: int) -> list[Chunk]:
        stored: dict[str, str] = {}
        for ids in _slices([chunk.id for chunk in chunks], batch):
            rows = self._collection.get(ids=ids, include=["metadatas"])
            digests = [metadata["digest"] for metadata in rows["metadatas"]]
            stored.update(zip(rows["ids"], digests, strict=True))
        return [chunk for chunk in chunks if stored.get(chunk.id) != _digest(chunk)]

    def _add(self, chunks: list[Chunk], batch: int, written: Bar, *, total: int) -> None:
        if not chunks:
            return
        vectors = passage_vectors(chunks, self._embedder)
        if self._collection is None:
            self._warn_of_memory(total, vectors.shape[1])
            self._collection = self._store.client.create_collection(
                self._name,
                embedding_function=self._function,
                configuration={"hnsw": {**self._settings, **_writing_settings(total)}},
                metadata={**self._metadata, "dimension": vectors.shape[1]},
                get_or_create=True,
            )
        self._check("dimension", self._collection.metadata.get("dimension"), vectors.shape[1])
        for rows in _slices(range(len(chunks)), batch):
            self._collection.upsert(
                ids=[chunks[row].id for row in rows],
                embeddings=vectors[rows],
                documents=[chunks[row].text for row in rows],
                metadatas=[_metadata(chunks[row]) for row in rows],
            )
            written.advance(len(rows))
        log.info("%d vectors written to %s", len(chunks), self._location)

    def _warn_of_memory(self, vectors: int, dimension: int) -> None:
        """Say it if the graph of a database in a folder is going to need more memory than there is."""
        if not self._store.in_process:
            return
        links = int(self._settings["max_neighbors"]) * BYTES_PER_NEIGHBOR
        warn_of_memory(
            vectors * (dimension * 4 + links + BYTES_PER_VECTOR),
            f"The index of {vectors:,} passages in Chroma",
            "if the system ends this process, give it more memory, take fewer documents (dataset.limit=…), "
            "or set retriever=exact, which keeps vectors in a file where they do not fit",
        )

    def _remove_all_but(self, keep: set[str], batch: int) -> None:
        stale: list[str] = []
        for offset in range(0, self._collection.count(), IDS_PER_CALL):
            ids = self._collection.get(include=[], limit=IDS_PER_CALL, offset=offset)["ids"]
            stale.extend(id for id in ids if id not in keep)
        for ids in _slices(stale, batch):
            self._collection.delete(ids=ids)
        log.info("%d vectors of removed chunks deleted from %s", len(stale), self._location)

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Return each query's ``k`` nearest chunks, approximately; equal scores are ordered by chunk id.

        Raises:
            RetrievalError: ``k`` is less than 1, a vector is not finite, or the database fails.
        """
        check_k(k)
        if not queries:
            return []
        return self.nearest(query_vectors(list(queries), self._embedder), k=k)

    def nearest(self, vectors: Vectors, *, k: int) -> list[list[Hit]]:
        """Return the nearest chunks of query vectors of unit length, shape (queries, dimension).

        Raises:
            RetrievalError: The database fails.
        """
        hits: list[list[Hit]] = []
        with _explained(self._location, self._remedy):
            count = self._collection.count()
            for rows in _slices(range(len(vectors)), QUERIES_PER_CALL):
                results = self._collection.query(
                    query_embeddings=vectors[rows], n_results=min(k, count), include=["distances"]
                )
                pairs = zip(results["ids"], results["distances"], strict=True)
                hits.extend(self._hits(ids, distances) for ids, distances in pairs)
        return hits

    def cosines(self, vectors: Vectors, ids: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the cosines of each query vector to the chunks with these ids, one list per query.

        Raises:
            RetrievalError: The database fails.
        """
        wanted = list(dict.fromkeys(id for each in ids for id in each))
        stored: dict[str, Vectors] = {}
        with _explained(self._location, self._remedy):
            for part in _slices(wanted, IDS_PER_CALL):
                rows = self._collection.get(ids=part, include=["embeddings"])
                stored.update(zip(rows["ids"], rows["embeddings"], strict=True))
        return [
            [float(stored[id] @ vector) for id in each] for vector, each in zip(vectors, ids, strict=True)
        ]

    def _hits(self, ids: Sequence[str], distances: Sequence[float]) -> list[Hit]:
        # For unit vectors, cosine and ip give 1 - cos, and l2 gives |a - b|^2 = 2 - 2 cos.
        scale = 0.5 if self._settings["space"] == "l2" else 1.0
        hits = [Hit(id, 1.0 - scale * float(distance)) for id, distance in zip(ids, distances, strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))


class ChromaDatabase:
    """All collections of a Chroma database, also those of other programs, as they are.

    Args:
        store: The open database.
        location: What error messages call the database.
        remedy: What error messages advise.
    """

    def __init__(self, store: _Store, *, location: str, remedy: str) -> None:
        self._store = store
        self._remedy = remedy
        self.location = location

    @classmethod
    def in_folder(cls, path: Path, *, remedy: str, lock_seconds: float = 30.0) -> ChromaDatabase:
        """Open the database in a folder.

        Raises:
            RetrievalError: There is none, another process of embexp uses it, or it is broken.
        """
        if not (path / DATABASE).is_file():
            raise RetrievalError(
                f"{path} holds no Chroma database (no {DATABASE}): name the folder that "
                "chromadb.PersistentClient(path=…) or `chroma run --path …` uses."
            )
        location = f"the Chroma database in {path}"
        return cls(_open_folder(path, lock_seconds), location=location, remedy=remedy)

    @classmethod
    def on_server(
        cls, host: str, port: int, *, ssl: bool, token_env: str | None, remedy: str
    ) -> ChromaDatabase:
        """Connect to a Chroma server.

        Args:
            host: The server's name or address.
            port: The server's port.
            ssl: Whether to use HTTPS.
            token_env: The environment variable that holds the access token, if there is one.
            remedy: What error messages advise.

        Raises:
            RetrievalError: No server answers, or it refuses the token.
        """
        location = f"the Chroma server at {host}:{port}"
        client = _server_client(host, port, ssl, token_env, location, remedy)
        return cls(_Store(client), location=location, remedy=remedy)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what Chroma raises in the block into an error that names the database and the remedy."""
        with _explained(self.location, self._remedy, ValueError):
            yield

    def collections(self) -> dict[str, Any]:
        """Return the collections by name; none of them loads a model."""
        with self.explained():
            names: list[str] = []
            while part := self._store.client.list_collections(limit=NAMES_PER_CALL, offset=len(names)):
                names.extend(each.name for each in part)
            found = {name: self._store.collection(name) for name in names}
        return {name: collection for name, collection in found.items() if collection is not None}

    def create(
        self, name: str, embedder: Embedder, *, settings: Mapping[str, str | int], metadata: Mapping[str, Any]
    ) -> Any:
        """Create an empty collection that names the model of its vectors.

        Args:
            name: Its name, which must be free.
            embedder: The model of the vectors that it will hold.
            settings: The parameters of the index (HNSW); Chroma's own where one is missing.
            metadata: What it tells of itself.
        """
        with self.explained():
            return self._store.client.create_collection(
                name,
                embedding_function=_embedding_function(embedder),
                configuration={"hnsw": dict(settings)},
                metadata=dict(metadata),
            )

    def delete(self, name: str) -> None:
        """Delete a collection."""
        with self.explained():
            self._store.client.delete_collection(name)

    @property
    def max_batch(self) -> int:
        """The most records of one call."""
        with self.explained():
            return int(self._store.client.get_max_batch_size())


class _Store:
    """An open client and, for a folder, its lock; both are released with the last index that uses them."""

    def __init__(self, client: Any, lock: FileLock | None = None) -> None:
        self.client = client
        self.in_process = lock is not None
        weakref.finalize(self, _release, client, lock)

    def collection(self, name: str) -> Any:
        """Return the collection of that name, or None."""
        from chromadb.errors import NotFoundError

        try:
            return self.client.get_collection(name, embedding_function=None)
        except NotFoundError:
            return None


def _release(client: Any, lock: FileLock | None) -> None:
    client.close()
    if lock is not None:
        lock.release()


_open_stores: weakref.WeakValueDictionary[Path, _Store] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def _open_folder(path: Path, seconds: float) -> _Store:
    """Open the database in ``path``; share it within a process, where two clients would conflict."""
    path = path.resolve()
    with _opening, space_checked(path):
        store = _open_stores.get(path)
        if store is not None:
            return store
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / ".lock")
        try:
            lock.acquire(timeout=seconds)
        except Timeout as error:
            raise RetrievalError(
                f"The index in {path} is in use by another process: wait until it ends, give this run "
                "another hydra.run.dir, or use retriever=chroma_server, which many processes may share."
            ) from error
        try:
            client = _client(path)
        except BaseException:
            lock.release()
            raise
        store = _open_stores[path] = _Store(client, lock)
        return store


def _client(path: Path) -> Any:
    import chromadb

    with _explained(f"the Chroma database in {path}", f"delete {path} and run again", ValueError):
        try:
            return chromadb.PersistentClient(str(path), settings=_client_settings())
        except ValueError as error:
            if "different settings" not in str(error):
                raise
            raise RetrievalError(
                f"The Chroma database in {path} is open in this process with another Chroma client: close "
                "that one first, or use a copy of the folder."
            ) from error


def _server_client(host: str, port: int, ssl: bool, token_env: str | None, location: str, remedy: str) -> Any:
    import chromadb

    token = os.environ.get(token_env, "") if token_env else ""
    # Chroma's own client has no timeout.
    try:
        socket.create_connection((host, port), timeout=PATIENCE_SECONDS).close()
    except OSError as error:
        raise RetrievalError(
            f"No Chroma server answers at {host}:{port} ({error}): start one with "
            f"`chroma run --path FOLDER --port {port}`, or set the host and the port of the one that runs."
        ) from error
    auth = {"chroma_client_auth_provider": TOKEN_PROVIDER, "chroma_client_auth_credentials": token}
    settings = _client_settings(**(auth if token else {}))
    with _explained(location, remedy, ValueError):
        return chromadb.HttpClient(host=host, port=port, ssl=ssl, settings=settings)


def _index_settings(retriever: ChromaRetriever | ChromaServerRetriever) -> dict[str, str | int]:
    return {
        "space": retriever.space,
        "ef_construction": retriever.ef_construction,
        "ef_search": retriever.ef_search,
        "max_neighbors": retriever.max_neighbors,
    }


def _writing_settings(vectors: int) -> dict[str, int]:
    """Return after how many vectors Chroma adds them to its graph, and writes the graph to disk.

    Chroma writes the ids of all vectors each time. By default it does so after every 1,000, which takes
    quadratic time; here a large index is written about fifty times, whatever its size. What was added since
    is read again from the database whenever it is opened, hence not fewer times.
    """
    every = min(max(vectors // 50, 1_000), 50_000)
    return {"batch_size": every, "sync_threshold": every}


def _client_settings(**more: str) -> Any:
    from chromadb.config import Settings

    return Settings(anonymized_telemetry=False, **more)


@contextmanager
def _explained(location: str, remedy: str, *more: type[Exception]) -> Iterator[None]:
    """Turn Chroma's errors into ones that name the database and the remedy."""
    import httpx
    from chromadb.errors import ChromaError

    try:
        yield
    except (ChromaError, httpx.HTTPError, *more) as error:
        left = address_space_left()
        if left is not None and left < LEAST_ADDRESSES:  # Chroma's threads fail in words of their own
            remedy = "raise the limit (ulimit -v), or set retriever=exact"
        failure = RetrievalError(f"{location[0].upper()}{location[1:]} failed ({error}): {remedy}.")
        raise disk_problem(error, location) or failure from error


def _collection_name(embedder: Embedder) -> str:
    """Return the embedder's name in Chroma's alphabet; empty if little is left of it."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", embedder.name)[:60].strip("-")
    return name if len(name) >= LEAST_NAME else ""


def _embedding_function(embedder: Embedder) -> Any:
    """Return Chroma's function for the embedder's model; None if it would encode questions otherwise."""
    if not embedder.address:
        return None
    return _loaded_when_called()(model_name=embedder.address, device="cpu", normalize_embeddings=True)


@cache
def _loaded_when_called() -> Any:
    """Return Chroma's class for models of sentence-transformers, as one that loads its model when called.

    The constructor of Chroma's own loads the model, and Chroma constructs it again whenever a collection is
    created or names another model. What a collection keeps is the same.
    """
    from chromadb.utils.embedding_functions import SentenceTransformerEmbeddingFunction

    class LoadedWhenCalled(SentenceTransformerEmbeddingFunction):  # type: ignore[misc]  # it is untyped
        def __init__(self, model_name: str, device: str, normalize_embeddings: bool, **options: Any) -> None:
            self.model_name = model_name
            self.device = device
            self.normalize_embeddings = normalize_embeddings
            self.kwargs = options

        def __call__(self, input: list[str]) -> Any:  # Chroma checks its name
            return SentenceTransformerEmbeddingFunction(
                self.model_name, self.device, self.normalize_embeddings, **self.kwargs
            )(input)

        @staticmethod
        def build_from_config(config: dict[str, Any]) -> Any:
            settings = {key: value for key, value in config.items() if key != "kwargs"}
            return LoadedWhenCalled(**settings, **config.get("kwargs", {}))

    return LoadedWhenCalled


def _metadata(chunk: Chunk) -> dict[str, str | int]:
    """Return what other programs show of a chunk beside its text."""
    return {
        "title": chunk.title,
        "document_id": chunk.document_id,
        "source": chunk.source,
        "position": chunk.position,
        "digest": _digest(chunk),
    }


def _digest(chunk: Chunk) -> str:
    """Return a digest of what the collection holds of a chunk."""
    return sha256_of(chunk.id, chunk.title, chunk.text, chunk.document_id, chunk.source)[:32]


def _slices(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
