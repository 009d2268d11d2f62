"""Re-embedding of a Chroma collection with a tuned model: a new collection beside it, then a switch of names.

The new collection is all that is kept of the work, and Chroma keeps it: after a kill, whatever it holds
already is not embedded again. The names tell how far a migration is. With ``manual`` as the collection:

    manual, manual-next-…          records are written to the second, which searches do not know
    manual-before-…, manual-next-… between the two renames of the switch
    manual, manual-before-…        done: the first is the new one
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from annotated_types import Interval
from pydantic import BaseModel, ConfigDict

from embexp.errors import ConfigError, RetrievalError
from embexp.models.encoder import Embedder
from embexp.progress import Bar, progress
from embexp.ranges import Count, Seconds, check_ranges
from embexp.retrieval.chroma import ChromaDatabase
from embexp.storage.files import sha256_of

FINGERPRINT, DIMENSION, SOURCE = "fingerprint", "dimension", "migrated_from"
"""What a collection's metadata tells: its model, the length of its vectors, the id of the old collection."""
RECORD_DIGEST = "digest"
"""The key of a record's metadata by which embexp's own records are known."""
_Record: TypeAlias = tuple[str, dict[str, Any]]
"""A text and its metadata."""
INDEX_SETTINGS = ("space", "ef_construction", "ef_search", "max_neighbors")
LONGEST_NAME = 400
DEVIATION = 1e-3
"""The most that 1 - cos of a stored vector and the same text's vector now may be."""
SAME = 1e-6
"""The most that numbers of equal vectors differ by."""
MIN_FOUND = 0.9
"""The least share of sampled records whose own vector must find them."""
MAX_PASSES = 5
BYTES_PER_NUMBER = 8
"""What Chroma's folder takes for a number of a vector: one copy in the index, one in the database."""


class MigrationReport(BaseModel):
    """What ``migrate.json`` holds of a re-embedded collection.

    Attributes:
        collection: The collection's name, under which the new vectors are now.
        old: The name of the old collection; None if it was deleted.
        records: How many records both hold.
        embedded: How many of them this command has embedded; the others were there already.
        sampled: How many records were embedded again to verify their vectors.
        largest_deviation: The largest 1 - cos between the two vectors of a sampled record.
        found: The share of sampled records that a search for their own vector finds.
    """

    model_config = ConfigDict(frozen=True)

    collection: str
    old: str | None
    records: int
    embedded: int
    sampled: int
    largest_deviation: float
    found: float


@dataclass(frozen=True, kw_only=True)
class ChromaMigration:
    """Embeds the texts of a Chroma collection with the tuned model, and gives the new collection its name.

    Args:
        collection: The collection's name.
        path: The folder of its database; None if it is on a server.
        host: The server's name or address; None if it is in a folder.
        port: The server's port.
        ssl: Whether to use HTTPS.
        token_env: The environment variable that holds the server's access token; not set, none is sent.
        batch: Records that are embedded and written at a time: at most these are lost to a kill.
        sample: Records that are embedded once more at the end, to verify the stored vectors.
        drop_old: Delete the old collection once the new one has its name.
        any_model: Re-embed a collection that another model than the run's untuned one has written.
        lock_seconds: How long to wait for another process of embexp that uses the folder.
    """

    collection: str
    path: str | None = None
    host: str | None = None
    port: Annotated[int, Interval(ge=1, le=65_535)] = 8000
    ssl: bool = False
    token_env: str | None = "CHROMA_TOKEN"
    batch: Annotated[int, Interval(ge=1, le=100_000)] = 256
    sample: Count = 64
    drop_old: bool = False
    any_model: bool = False
    lock_seconds: Seconds = 30.0

    def __post_init__(self) -> None:
        check_ranges(self, "migrate")
        if (self.path is None) == (self.host is None):
            given = "neither" if self.path is None else "both"
            raise ConfigError(
                f"migrate.path and migrate.host: {given} is set. Give the folder of the Chroma database "
                "(migrate.path=FOLDER) or the server that it is on (migrate.host=NAME), not both."
            )

    def database(self) -> ChromaDatabase:
        """Open the database.

        Raises:
            RetrievalError: There is none, it is in use, or it cannot be reached.
        """
        remedy = "what was written stays, so run the same command again once that is mended"
        if self.path is not None:
            return ChromaDatabase.in_folder(
                Path(self.path).expanduser(), remedy=remedy, lock_seconds=self.lock_seconds
            )
        return ChromaDatabase.on_server(
            str(self.host), self.port, ssl=self.ssl, token_env=self.token_env, remedy=remedy
        )

    def check_space(self, records: int, dimension: int) -> None:
        """Refuse to start where the disk has no room for a second collection.

        Raises:
            RetrievalError: It has not.
        """
        needed = records * dimension * BYTES_PER_NUMBER
        if self.path is not None and (free := shutil.disk_usage(Path(self.path).expanduser()).free) < needed:
            raise RetrievalError(
                f"The new collection needs about {needed / 1e9:,.1f} GB beside the old one, and the disk of "
                f"{self.path} has {free / 1e9:,.1f} GB left: free some, or move the database to another disk."
            )


def reembed(settings: ChromaMigration, embedder: Embedder, untuned: Embedder) -> MigrationReport:
    """Re-embed a collection, verify the new one, and switch; a migration that was killed goes on.

    Args:
        settings: Which collection, and how.
        embedder: The tuned model.
        untuned: The model that is expected to have written the old collection.

    Raises:
        RetrievalError: The collection is missing, has records without text or is of another model; the
            database fails; or the new collection does not verify. The old one is as it was.
    """
    database = settings.database()
    pair = _Pair.find(database, settings.collection, embedder)
    written = 0
    if not pair.switched:
        pair.check_old(untuned, any_model=settings.any_model)
        records = pair.check_texts()
        pair.check_change(untuned)
        settings.check_space(records, embedder.dimension)
        pair.create()
        written = pair.fill(settings.batch)
    verified = pair.verify(settings.sample)
    pair.switch()
    if settings.drop_old:
        pair.drop_old()
    return MigrationReport(collection=settings.collection, old=pair.old_name, embedded=written, **verified)


class _Pair:
    """The old and the new collection of one migration; either may still be missing, or be gone.

    Args:
        database: Where both are.
        name: The name that searches use.
        embedder: The tuned model.
        old: The old collection; None if it was dropped.
        new: The new collection; None before it is created.
    """

    def __init__(self, database: ChromaDatabase, name: str, embedder: Embedder, old: Any, new: Any) -> None:
        self._database = database
        self._name = name
        self._embedder = embedder
        self._old = old
        self._new = new

    @classmethod
    def find(cls, database: ChromaDatabase, name: str, embedder: Embedder) -> _Pair:
        """Find out how far the migration is.

        Raises:
            RetrievalError: There is no such collection.
        """
        there = database.collections()
        current = there.get(name)
        if current is not None and _told(current, FINGERPRINT) == embedder.fingerprint:
            return cls(database, name, embedder, _by_id(there, _told(current, SOURCE)), current)
        started = [
            each
            for key, each in there.items()
            if key.startswith(f"{_stem(name)}-next-") and _told(each, FINGERPRINT) == embedder.fingerprint
        ]
        for each in started:
            old = _by_id(there, _told(each, SOURCE))
            if old is not None and (old is current or old.name.startswith(f"{_stem(name)}-before-")):
                if current is not None and old is not current:
                    _remove_usurper(database, current)
                return cls(database, name, embedder, old, each)
        if current is None:
            named = ", ".join(sorted(there)) or "none at all"
            raise RetrievalError(
                f"{database.location[0].upper()}{database.location[1:]} has no collection {name!r} "
                f"(it has {named}): give its name as migrate.collection=NAME."
            )
        return cls(database, name, embedder, current, None)

    @property
    def switched(self) -> bool:
        """Whether searches find the new collection under the name."""
        return self._new is not None and self._new.name == self._name

    @property
    def old_name(self) -> str | None:
        """What the old collection is called; None if it is gone."""
        return None if self._old is None else str(self._old.name)

    def check_old(self, untuned: Embedder, *, any_model: bool) -> None:
        """Refuse a collection of another model than the one that was tuned.

        Raises:
            RetrievalError: It is one, and ``any_model`` is not set.
        """
        if any_model:
            return
        for what, stored, expected in self._recorded(untuned):
            if stored != expected:
                raise RetrievalError(
                    f"The collection {self._name} of {self._database.location} was written by another model "
                    f"than the run's untuned one ({what} {stored}, not {expected}): give the run that tuned "
                    "its model (--run), or set migrate.any_model=true to re-embed it nevertheless."
                )

    def check_change(self, untuned: Embedder) -> None:
        """Refuse a tuned model that differs from the untuned one in the vectors of questions alone.

        Raises:
            RetrievalError: It does.
        """
        with self._database.explained():
            rows = self._old.get(limit=1, include=["documents", "metadatas"])
        texts = [_passage(*record) for record in _records(rows).values()]
        new, old = self._embedder.encode_passages(texts), untuned.encode_passages(texts)
        if new.shape == old.shape and abs(new - old).max() < SAME:
            raise RetrievalError(
                f"The tuned model gives passages the vectors that {self._name} has already; only those of "
                "questions are new. Keep the collection, and encode questions with the tuned model."
            )

    def _recorded(self, untuned: Embedder) -> Iterator[tuple[str, object, object]]:
        """Yield what the old collection tells of its model, beside what the untuned model has."""
        if (fingerprint := _told(self._old, FINGERPRINT)) is not None:
            yield "fingerprint", fingerprint, untuned.fingerprint
        config = (self._old.configuration_json.get("embedding_function") or {}).get("config") or {}
        if (
            (model := config.get("model_name"))
            and untuned.address
            and FINGERPRINT not in _metadata(self._old)
        ):
            # Programs name one model with and without its owner, or by the folder of a copy.
            yield "model", Path(str(model)).name, Path(untuned.address).name
        with self._database.explained():
            first = self._old.get(limit=1, include=["embeddings"])["embeddings"]
        if len(first):
            yield "dimension", len(first[0]), untuned.dimension

    def check_texts(self) -> int:
        """Return the number of records.

        Raises:
            RetrievalError: There are none, or some have no text.
        """
        missing: list[str] = []
        count = 0
        for rows in self._pages(self._old, 1_000, ["documents"]):
            count += len(rows["ids"])
            missing += [id for id, text in zip(rows["ids"], rows["documents"], strict=True) if text is None]
        if not count:
            raise RetrievalError(
                f"The collection {self._name} of {self._database.location} is empty: there is nothing to "
                "embed. Check migrate.collection."
            )
        if missing:
            raise RetrievalError(
                f"{len(missing):,} of {count:,} records of the collection {self._name} have no text, the "
                f"first being {missing[0]!r}, and only texts can be embedded again: add their "
                "documents to Chroma (collection.update), delete them, or index your source anew with the "
                "tuned model."
            )
        return count

    def create(self) -> None:
        """Create the new collection, unless a killed migration has done so."""
        if self._new is not None:
            return
        told = {key: value for key, value in _metadata(self._old).items() if not key.startswith("hnsw:")}
        index = self._old.configuration_json.get("hnsw") or {}
        digest = sha256_of(str(self._old.id), self._embedder.fingerprint)[:8]
        self._new = self._database.create(
            f"{_stem(self._name)}-next-{digest}",
            self._embedder,
            settings={key: index[key] for key in INDEX_SETTINGS if index.get(key) is not None},
            metadata={
                **told,
                FINGERPRINT: self._embedder.fingerprint,
                DIMENSION: self._embedder.dimension,
                SOURCE: str(self._old.id),
            },
        )

    def fill(self, batch: int) -> int:
        """Embed what the new collection lacks, until both hold the same; return how many records that were.

        Records that are added, changed or deleted meanwhile are followed.

        Args:
            batch: Records embedded and written at a time.

        Raises:
            RetrievalError: The old collection never stands still.
        """
        batch = min(batch, self._database.max_batch)
        with self._database.explained():
            left = max(self._old.count() - self._new.count(), 0)
        written = 0
        with progress(f"Embedding {self._name}", total=left) as bar:
            for _ in range(MAX_PASSES):
                changed = self._pass(batch, bar) + self._delete_stale(batch)
                written += changed
                if not changed:
                    return written
        raise RetrievalError(
            f"The collection {self._name} of {self._database.location} was written to all the while: stop "
            "the programs that write to it, and run the same command again."
        )

    def _pass(self, batch: int, bar: Bar) -> int:
        """Go once through the old collection, embed what is new or changed, and return how many records."""
        written = 0
        for rows in self._pages(self._old, batch, ["documents", "metadatas"]):
            old = _records(rows)
            with self._database.explained():
                new = _records(self._new.get(ids=list(old), include=["documents", "metadatas"]))
            wanted = {id: record for id, record in old.items() if _differs(record, new.get(id))}
            if not wanted:
                continue
            vectors = self._embedder.encode_passages([_passage(*record) for record in wanted.values()])
            with self._database.explained():
                # An update would keep keys of the metadata that are gone.
                if changed := [id for id in wanted if id in new]:
                    self._new.delete(ids=changed)
                self._new.add(
                    ids=list(wanted),
                    embeddings=vectors,
                    documents=[text for text, _ in wanted.values()],
                    metadatas=[metadata or None for _, metadata in wanted.values()],
                )
            written += len(wanted)
            bar.advance(len(wanted))
        return written

    def _delete_stale(self, batch: int) -> int:
        """Delete what the old collection has no more, and return how many records."""
        with self._database.explained():
            if self._new.count() <= self._old.count():
                return 0
        stale: list[str] = []
        for rows in self._pages(self._new, batch, []):
            with self._database.explained():
                kept = set(self._old.get(ids=rows["ids"], include=[])["ids"])
            stale += [id for id in rows["ids"] if id not in kept]
        for start in range(0, len(stale), batch):
            with self._database.explained():
                self._new.delete(ids=stale[start : start + batch])
        return len(stale)

    def verify(self, sample: int) -> dict[str, Any]:
        """Compare the counts, and the stored vectors of a sample with those that the model gives now.

        Args:
            sample: How many records.

        Returns:
            ``records``, ``sampled``, ``largest_deviation`` and ``found``.

        Raises:
            RetrievalError: Something differs; the message says what to do.
        """
        import numpy as np

        with self._database.explained():
            count = self._new.count()
            if self._old is not None and not self.switched and self._old.count() != count:
                raise self._unverified(f"it holds {count:,} records and the old one {self._old.count():,}")
            ids = [id for rows in self._pages(self._new, 10_000, []) for id in rows["ids"]]
            drawn = random.Random(0).sample(ids, min(sample, len(ids)))
            rows = self._new.get(ids=drawn, include=["documents", "metadatas", "embeddings"])
            stored = np.asarray(rows["embeddings"], dtype=np.float32)
            again = self._embedder.encode_passages([_passage(*each) for each in _records(rows).values()])
            if stored.shape != again.shape:
                raise self._unverified(f"its vectors have {stored.shape[1]} numbers, not {again.shape[1]}")
            deviation = max(0.0, 1.0 - float(_cosines(stored, again).min()))
            if not deviation <= DEVIATION:
                raise self._unverified(f"a stored vector deviates by {deviation:.2g} (1 - cos)")
            hits = self._new.query(query_embeddings=stored, n_results=1, include=["embeddings"])["embeddings"]
        nearest = np.asarray([each[0] for each in hits], dtype=np.float32)
        found = float((_cosines(stored, nearest) > 1 - DEVIATION).mean())
        if found < MIN_FOUND:
            raise self._unverified(f"searches find {found:.0%} of the sampled records by their own vector")
        return {"records": count, "sampled": len(drawn), "largest_deviation": deviation, "found": found}

    def _unverified(self, problem: str) -> RetrievalError:
        return RetrievalError(
            f"The new collection {self._new.name} of {self._database.location} is not as it should be "
            f"({problem}); searches still use the old one. Delete {self._new.name}, and run the same command "
            "again."
            if not self.switched
            else f"The collection {self._name} of {self._database.location} is not as it should be "
            f"({problem}): index it anew with the tuned model."
        )

    def switch(self) -> None:
        """Give the new collection the name; each rename is one step of Chroma's, and nothing is copied."""
        if self.switched:
            return
        with self._database.explained():
            if self._old.name == self._name:
                digest = self._new.name.rpartition("-")[2]
                self._old.modify(name=f"{_stem(self._name)}-before-{digest}")
            self._new.modify(name=self._name)

    def drop_old(self) -> None:
        """Delete the old collection."""
        if self._old is not None:
            self._database.delete(self._old.name)
            self._old = None

    def _pages(self, collection: Any, size: int, include: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Yield all records of a collection, some at a time."""
        offset = 0
        while True:
            with self._database.explained():
                rows = collection.get(limit=size, offset=offset, include=list(include))
            if not rows["ids"]:
                return
            yield rows
            offset += len(rows["ids"])


def _remove_usurper(database: ChromaDatabase, collection: Any) -> None:
    """Delete an empty collection that a program created under the name between the two renames.

    Raises:
        RetrievalError: It is not empty.
    """
    with database.explained():
        count = collection.count()
    if count:
        raise RetrievalError(
            f"While the migration was interrupted, a program wrote {count:,} records to a new collection "
            f"{collection.name} of {database.location}: rename that one, and run the same command again."
        )
    database.delete(collection.name)


def _stem(name: str) -> str:
    """Return the beginning of the names of both collections."""
    return name[:LONGEST_NAME]


def _metadata(collection: Any) -> dict[str, Any]:
    return dict(collection.metadata or {})


def _told(collection: Any, key: str) -> Any:
    return _metadata(collection).get(key)


def _by_id(collections: Mapping[str, Any], id: Any) -> Any:
    return next((each for each in collections.values() if id and str(each.id) == str(id)), None)


def _records(rows: Mapping[str, Any]) -> dict[str, _Record]:
    """Return id -> text and metadata."""
    return {
        id: (text, dict(metadata or {}))
        for id, text, metadata in zip(rows["ids"], rows["documents"], rows["metadatas"], strict=True)
    }


def _differs(record: _Record, other: _Record | None) -> bool:
    # By their texts, since a NaN in the metadata differs from itself.
    return other is None or [record[0], sorted(map(repr, record[1].items()))] != [
        other[0],
        sorted(map(repr, other[1].items())),
    ]


def _passage(text: str, metadata: Mapping[str, Any]) -> str:
    """Return what is embedded of a record: embexp's own records keep the title of a chunk beside its text."""
    title = metadata.get("title") if RECORD_DIGEST in metadata else None
    return f"{title}\n{text}" if title else text


def _cosines(one: Any, other: Any) -> Any:
    import numpy as np

    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / np.maximum(lengths, 1e-12)
