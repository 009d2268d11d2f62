"""Where a study is kept: Optuna's storage, the lock for decisions on it, and which sweepers are alive.

Several sweepers can work on one study. Two questions then need an exact answer, whatever the storage:

- *May I start another trial?* is decided under the study's lock, so that the total is never exceeded.
- *Is the process of that running trial still alive?* Each sweeper holds a lock of its own while it lives. The
  operating system or the database releases it when the process ends, also after SIGKILL or a power cut, so
  whoever can take another sweeper's lock knows that the other is dead.

Files are locked with flock, which works between machines if their shared file system supports it. Advisory
locks of PostgreSQL belong to a connection and work between any machines. docs/decisions/0002-locks.md says
why Optuna's heartbeats are not used.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from filelock import FileLock, Timeout

from embexp.errors import ConfigError, SweepError
from embexp.masking import masked_text
from embexp.storage.files import sha256_of
from embexp.storage.sqlite import sqlite_address

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy import Connection

SQLITE = "sqlite:///"
JOURNAL_ENDINGS = (".journal", ".log")
SQLITE_TIMEOUT = 60
CONNECT = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
SERVER_KEEPALIVES = ("tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3")
"""Without these, a server notices only after two hours that a client machine was switched off."""


class Store(Protocol):
    """A storage of studies that several processes can share."""

    @property
    def display_name(self) -> str:
        """The address, without secrets."""

    def open(self) -> BaseStorage:
        """Return Optuna's storage; create it if it does not exist."""

    def lock(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock of that name, as for decisions on a study."""

    def liveness_lock(self) -> AbstractContextManager[str]:
        """Hold a lock of this process alone and yield its name, which others pass to ``is_alive``."""

    def is_alive(self, name: str) -> bool:
        """Return whether the process that holds the liveness lock of that name still runs."""


def store_at(address: str | None, folder: Path) -> Store:
    """Return the store at an address; ``folder/study.db`` if there is none.

    Raises:
        ConfigError: The address is of no known kind.
    """
    if address is None:
        return FileStore(folder / "study.db")
    if address.startswith(("postgresql:", "postgresql+", "postgres:")):
        return PostgresStore(address.replace("postgres:", "postgresql:", 1))
    if address.startswith(SQLITE) and len(address) > len(SQLITE):
        return FileStore(Path(address.removeprefix(SQLITE)))
    if "://" not in address and address.endswith(JOURNAL_ENDINGS):
        return FileStore(Path(address), journal=True)
    raise ConfigError(
        f"hydra.sweeper.storage is {masked_text(address)!r}: write {SQLITE}FILE.db, FILE.journal, or "
        "postgresql://USER@HOST/DATABASE."
    )


class FileStore:
    """A SQLite database or a journal, with lock files beside it."""

    def __init__(self, path: Path, *, journal: bool = False) -> None:
        self._path = path.absolute()
        self._journal = journal

    @property
    def display_name(self) -> str:
        """The file's path."""
        return str(self._path)

    def open(self) -> BaseStorage:
        """Return Optuna's storage over the file.

        Raises:
            SweepError: The folder is not writable, or the file has another content.
        """
        with storage_errors(self.display_name):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._hold("tables"):  # two processes that create them at the same time corrupt the file
                return self._storage()

    def _storage(self) -> BaseStorage:
        if self._journal:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            return JournalStorage(JournalFileBackend(str(self._path)))
        from optuna.storages import RDBStorage

        timeout = {"timeout": SQLITE_TIMEOUT}
        # Optuna formats the address, so that braces in a path need a second pair.
        address = sqlite_address(self._path).replace("{", "{{").replace("}", "}}")
        return RDBStorage(address, engine_kwargs={"connect_args": timeout})

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock file of that name."""
        with self._hold(sha256_of(name)[:16]):
            yield

    @contextmanager
    def liveness_lock(self) -> Iterator[str]:
        """Hold a lock file of this process alone."""
        name = _new_name()
        with self._hold(name):
            yield name
        self._lock_file(name).unlink(missing_ok=True)

    @contextmanager
    def _hold(self, name: str) -> Iterator[None]:
        file = self._lock_file(name)
        with storage_errors(self.display_name):
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(file)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def is_alive(self, name: str) -> bool:
        """Return whether a process holds that lock file."""
        file = self._lock_file(name)
        if not file.exists():
            return False
        try:
            with FileLock(file, timeout=0):
                pass
        except Timeout:
            return True
        file.unlink(missing_ok=True)
        return False

    def _lock_file(self, name: str) -> Path:
        return self._path.with_name(f"{self._path.name}.sweepers") / f"{name}.lock"


class PostgresStore:
    """A PostgreSQL database, with an advisory lock on a connection of its own for each lock."""

    def __init__(self, address: str) -> None:
        self._address = _with_driver(address)

    @property
    def display_name(self) -> str:
        """The address, with the password masked."""
        return masked_text(self._address)

    def open(self) -> BaseStorage:
        """Return Optuna's storage; its tables are created by one process at a time.

        Raises:
            SweepError: No server answers, or the driver is missing.
        """
        from optuna.storages import RDBStorage

        with self._hold("embexp tables"), storage_errors(self.display_name):
            return RDBStorage(self._address, engine_kwargs={"connect_args": CONNECT, "pool_pre_ping": True})

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the advisory lock of that name."""
        with self._hold(f"embexp {name}"):
            yield

    @contextmanager
    def liveness_lock(self) -> Iterator[str]:
        """Hold an advisory lock under a new name."""
        name = _new_name()
        with self._hold(f"embexp sweeper {name}"):
            yield name

    def is_alive(self, name: str) -> bool:
        """Return whether a connection holds the lock of that name."""
        from sqlalchemy import text

        with storage_errors(self.display_name), self._connection() as connection:
            key = {"key": _lock_key(f"embexp sweeper {name}")}
            return not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar()

    @contextmanager
    def _hold(self, name: str) -> Iterator[None]:
        from sqlalchemy import text

        with self._connection() as connection:
            with storage_errors(self.display_name):
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _lock_key(name)})
            yield

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Open a connection; closing it releases its locks."""
        from sqlalchemy import create_engine, text
        from sqlalchemy.pool import NullPool

        try:
            engine = create_engine(
                self._address, poolclass=NullPool, connect_args=CONNECT, isolation_level="AUTOCOMMIT"
            )
        except ImportError as error:
            raise SweepError(
                f"The storage {self.display_name} needs a driver that is not installed ({error}): "
                'pip install "embexp[postgres]".'
            ) from error
        with storage_errors(self.display_name):
            connection = engine.connect()
        try:
            with storage_errors(self.display_name):
                for setting in SERVER_KEEPALIVES:
                    connection.execute(text(f"SET {setting}"))
            yield connection
        finally:
            connection.close()


@contextmanager
def storage_errors(display_name: str) -> Iterator[None]:
    """Turn errors of Optuna, SQLAlchemy and the file system into one sentence.

    Raises:
        SweepError: The storage cannot be used.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError, StatementError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError, OSError, ValueError, RuntimeError, ImportError) as error:
        cause: BaseException = error
        while isinstance(cause, StorageInternalError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, StatementError) and cause.orig is not None:
            cause = cause.orig  # the driver's own error
        reason = masked_text(" ".join(str(cause).split()))[:300].rstrip(".")
        raise SweepError(
            f"The storage {display_name} cannot be used: {reason}. Check that it exists and is writable, or "
            "set hydra.sweeper.storage to another."
        ) from error


def _new_name() -> str:
    """Return a name for this process that no other process has had."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _with_driver(address: str) -> str:
    """Add a driver to an address that names none: psycopg if it is installed, else psycopg2."""
    driver = "psycopg" if find_spec("psycopg") else "psycopg2"
    scheme, _, rest = address.partition("://")
    return f"{scheme}+{driver}://{rest}" if scheme == "postgresql" else address


def _lock_key(name: str) -> int:
    """Return a signed 64-bit number for a name, as PostgreSQL's advisory locks need."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
