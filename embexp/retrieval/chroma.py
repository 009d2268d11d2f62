"""Chroma: an approximate index that is kept on disk or on a server. The only file that imports chromadb."""

from __future__ import annotations

import os
import re
import socket
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from filelock import FileLock, Timeout

from embexp.data.records import Chunk
from embexp.errors import ConfigError, RetrievalError
from embexp.models.encoder import Embedder
from embexp.retrieval.chroma_collection import Collection, digest_of
from embexp.retrieval.index import Hit, check_k, empty_corpus, query_vectors
from embexp.storage.files import sha256_of, space_checked

Space = Literal["cosine", "ip", "l2"]
PATIENCE_SECONDS = 5.0
COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
TOKEN_PROVIDER = "chromadb.auth.token_authn.TokenAuthClientProvider"


@dataclass(frozen=True, kw_only=True)
class ChromaRetriever:
    """Keeps the vectors in a Chroma database in a folder: one collection per model.

    Indexing again adds what is new or changed and removes what is gone. One process at a time may use a
    folder; others wait for it.

    Args:
        space: How vectors are compared. They have unit length, so that all three rank alike.
        ef_construction: How many neighbours are weighed when a vector is added: more is better and slower.
        ef_search: How many neighbours are weighed in a search: more finds more, and is slower.
        max_neighbors: How many links each vector keeps: more finds more, and takes more memory.
        batch: Vectors that are added at once.
        lock_seconds: How long to wait for another process that uses the folder.
    """

    approximate: ClassVar[bool] = True
    """Its hits are those of exact search, nearly: how nearly, a benchmark measures."""
    space: Space = "cosine"
    ef_construction: int = 200
    ef_search: int = 100
    max_neighbors: int = 16
    batch: int = 5_000
    lock_seconds: float = 30.0

    def __post_init__(self) -> None:
        _check_positive(self)

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> ChromaIndex:
        """Bring the model's collection under ``path`` up to date with the chunks.

        Raises:
            RetrievalError: There are no chunks, the folder is in use or broken, or the collection in it was
                built with another model or other settings.
        """
        store = _open_folder(path, self.lock_seconds)
        place = f"the Chroma database in {path}"
        remedy = f"delete {path} and run again; its vectors are written anew"
        name = f"embexp-{sha256_of(embedder.fingerprint)[:32]}"
        index = ChromaIndex(store, embedder, name, _settings(self), place, remedy)
        with space_checked(path):
            found = index.update(chunks, self.batch)
        if not found:
            raise empty_corpus(path)
        return index


@dataclass(frozen=True, kw_only=True)
class ChromaServerRetriever:
    """Keeps the vectors on a Chroma server, which many processes may use at once.

    Each model and corpus has a collection of its own, named after their content: the same ones are found
    again, and no run changes what another one searches. Old collections stay until you delete them.

    Args:
        host: The server's name or address.
        port: Its port.
        ssl: Whether to use HTTPS.
        token_env: The environment variable that holds the access token; None, or one that is not set,
            sends none. The token itself never stands in a configuration.
        collection: The start of the collections' names.
        space: How vectors are compared. They have unit length, so that all three rank alike.
        ef_construction: How many neighbours are weighed when a vector is added: more is better and slower.
        ef_search: How many neighbours are weighed in a search: more finds more, and is slower.
        max_neighbors: How many links each vector keeps: more finds more, and takes more memory.
        batch: Vectors that are sent at once.
    """

    approximate: ClassVar[bool] = True
    """Its hits are those of exact search, nearly: how nearly, a benchmark measures."""
    host: str = "localhost"
    port: int = 8000
    ssl: bool = False
    token_env: str | None = "CHROMA_TOKEN"
    collection: str = "embexp"
    space: Space = "cosine"
    ef_construction: int = 200
    ef_search: int = 100
    max_neighbors: int = 16
    batch: int = 1_000

    def __post_init__(self) -> None:
        _check_positive(self)
        if not 1 <= self.port <= 65_535:
            raise ConfigError(f"retriever.port is {self.port}: give a port from 1 to 65535, usually 8000.")
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
        digest = sha256_of(embedder.fingerprint, sorted(digest_of(chunk) for chunk in corpus))
        name = f"{self.collection}-{digest[:32]}"
        place = f"the Chroma server at {self.host}:{self.port}"
        remedy = (
            f"see that retriever.host, port and ssl are right; if it asks for a token, set "
            f"{self.token_env or 'the variable that retriever.token_env names'}; if the collection {name} is "
            "at fault, delete it or choose another retriever.collection"
        )
        store = _Store(self._client(place, remedy))
        index = ChromaIndex(store, embedder, name, _settings(self), place, remedy)
        index.update(corpus, self.batch)
        return index

    def _client(self, place: str, remedy: str) -> Any:
        import chromadb

        token = os.environ.get(self.token_env, "") if self.token_env else ""
        # Chroma's own client would wait for an answer without end.
        try:
            socket.create_connection((self.host, self.port), timeout=PATIENCE_SECONDS).close()
        except OSError as error:
            raise RetrievalError(
                f"No Chroma server answers at {self.host}:{self.port} ({error}): start one with "
                f"`chroma run --path FOLDER --port {self.port}`, or set retriever.host and retriever.port."
            ) from error
        auth = {"chroma_client_auth_provider": TOKEN_PROVIDER, "chroma_client_auth_credentials": token}
        settings = _client_settings(**(auth if token else {}))
        with _explained(place, remedy, ValueError):
            return chromadb.HttpClient(host=self.host, port=self.port, ssl=self.ssl, settings=settings)


class ChromaIndex:
    """A collection that can be searched; a hit's score is its cosine similarity to the query."""

    def __init__(
        self,
        store: _Store,
        embedder: Embedder,
        name: str,
        settings: dict[str, str | int],
        place: str,
        remedy: str,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._place = place
        self._remedy = remedy
        with _explained(place, remedy):
            self._collection = Collection(
                store.client,
                store.find(name),
                name=name,
                metadata={"fingerprint": embedder.fingerprint, **settings},
                place=place,
                remedy=remedy,
            )

    def update(self, chunks: Iterable[Chunk], batch: int) -> int:
        """Add what is new or changed, remove what is gone, and return how many chunks there are."""
        with _explained(self._place, self._remedy):
            return self._collection.update(chunks, self._embedder, batch)

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Return each query's ``k`` nearest chunks, approximately; equal scores are ordered by chunk id.

        Raises:
            RetrievalError: ``k`` is less than 1, a vector is not finite, or the database fails.
        """
        check_k(k)
        if not queries:
            return []
        vectors = query_vectors(list(queries), self._embedder)
        with _explained(self._place, self._remedy):
            return self._collection.nearest(vectors, k)


class _Store:
    """An open client and, for a folder, its lock; both are let go with the last index that uses them."""

    def __init__(self, client: Any, lock: FileLock | None = None) -> None:
        self.client = client
        weakref.finalize(self, _let_go, client, lock)

    def find(self, name: str) -> Any:
        """Return the collection of that name, or None."""
        from chromadb.errors import NotFoundError

        try:
            return self.client.get_collection(name, embedding_function=None)
        except NotFoundError:
            return None


def _let_go(client: Any, lock: FileLock | None) -> None:
    client.close()
    if lock is not None:
        lock.release()


_open_stores: weakref.WeakValueDictionary[Path, _Store] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def _open_folder(path: Path, seconds: float) -> _Store:
    """Open the database in ``path``, or share it where this process has it open: two clients would clash."""
    import chromadb

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
            with _explained(f"the Chroma database in {path}", f"delete {path} and run again", ValueError):
                client = chromadb.PersistentClient(str(path), settings=_client_settings())
        except BaseException:
            lock.release()
            raise
        store = _open_stores[path] = _Store(client, lock)
        return store


def _settings(retriever: ChromaRetriever | ChromaServerRetriever) -> dict[str, str | int]:
    return {
        "space": retriever.space,
        "ef_construction": retriever.ef_construction,
        "ef_search": retriever.ef_search,
        "max_neighbors": retriever.max_neighbors,
    }


def _check_positive(retriever: ChromaRetriever | ChromaServerRetriever) -> None:
    for key in ("ef_construction", "ef_search", "max_neighbors", "batch"):
        value = getattr(retriever, key)
        if value < 1:
            raise ConfigError(f"retriever.{key} is {value}: give 1 or more.")


def _client_settings(**more: str) -> Any:
    from chromadb.config import Settings

    return Settings(anonymized_telemetry=False, **more)


@contextmanager
def _explained(place: str, remedy: str, *more: type[Exception]) -> Iterator[None]:
    """Turn Chroma's errors into ours."""
    import httpx
    from chromadb.errors import ChromaError

    try:
        yield
    except (ChromaError, httpx.HTTPError, *more) as error:
        raise RetrievalError(f"{place[0].upper()}{place[1:]} failed ({error}): {remedy}.") from error
