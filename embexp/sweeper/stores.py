"""Where a study is kept: Optuna's storage, the lock around decisions on it, and who is still alive.

Several sweepers may work on one study. Two questions then need an exact answer, whatever the storage.
*May I start another trial?* is asked under one lock for each study, so that the total is never passed.
*Is the process of that running trial still there?* is answered by a lock too: each sweeper holds one
of its own for as long as it lives, and the system takes it away when the process ends, be it by
SIGKILL or a power cut. Who can take another's lock knows that the other is gone. Heartbeats, which
Optuna has for databases only, would find out after minutes, and be wrong about a process that slept.
Files are locked with flock, which works between machines where their shared file system supports it;
PostgreSQL's advisory locks belong to a connection and work between any machines.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from embexp.errors import ConfigError, SweepError
from embexp.storage.files import sha256_of
from embexp.tracking.masking import masked_text

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

SQLITE = "sqlite:///"
JOURNAL_ENDINGS = (".journal", ".log")
WAIT_SECONDS = 60


class Store(Protocol):
    """A storage of studies that several processes can share."""

    @property
    def shown(self) -> str:
        """The address, without secrets."""

    def open(self) -> BaseStorage:
        """Return Optuna's storage, created where it is missing."""

    def locked(self, name: str) -> AbstractContextManager[None]:
        """Hold the lock of that name: a study's, for decisions on it."""

    def sign_in(self) -> AbstractContextManager[str]:
        """Yield a name for this process, which counts as alive until the block or the process ends."""

    def alive(self, name: str) -> bool:
        """Say whether the process of that name still runs."""


def store_at(address: str | None, folder: Path) -> Store:
    """Return the store at an address; ``folder/study.db`` where there is none.

    Raises:
        ConfigError: The address is of no known kind.
    """
    if address is None:
        return FileStore(folder / "study.db")
    if address.startswith(("postgresql:", "postgresql+", "postgres:")):
        from embexp.sweeper.postgres import PostgresStore

        return PostgresStore(address.replace("postgres:", "postgresql:", 1))
    if address.startswith(SQLITE) and len(address) > len(SQLITE):
        return FileStore(Path(address.removeprefix(SQLITE)))
    if "://" not in address and address.endswith(JOURNAL_ENDINGS):
        return FileStore(Path(address), journal=True)
    raise ConfigError(
        f"hydra.sweeper.storage is {masked_text(address)!r}: write {SQLITE}FILE.db, FILE.journal, or "
        "postgresql://USER@HOST/DATABASE."
    )


def new_name() -> str:
    """Return a name for this process that no other has had."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


class FileStore:
    """A SQLite database or a journal, with lock files beside it."""

    def __init__(self, path: Path, *, journal: bool = False) -> None:
        self.path = path.absolute()
        self.journal = journal

    @property
    def shown(self) -> str:
        """The file's path."""
        return str(self.path)

    def open(self) -> BaseStorage:
        """Return Optuna's storage over the file.

        Raises:
            SweepError: The folder may not be written, or the file holds something else.
        """
        with storage_errors(self.shown):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._holding("tables"):  # two processes that create them at once spoil the file
                return self._opened()

    def _opened(self) -> BaseStorage:
        if self.journal:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            return JournalStorage(JournalFileBackend(str(self.path)))
        from optuna.storages import RDBStorage

        return RDBStorage(f"{SQLITE}{self.path}", engine_kwargs={"connect_args": {"timeout": WAIT_SECONDS}})

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock file of that name."""
        with self._holding(f"{sha256_of(name)[:16]}"):
            yield

    @contextmanager
    def sign_in(self) -> Iterator[str]:
        """Hold a lock file of this process's own."""
        name = new_name()
        with self._holding(name):
            yield name
        self._sign(name).unlink(missing_ok=True)

    @contextmanager
    def _holding(self, name: str) -> Iterator[None]:
        from filelock import FileLock

        sign = self._sign(name)
        with storage_errors(self.shown):
            sign.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(sign)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def alive(self, name: str) -> bool:
        """Say whether somebody holds that lock file."""
        from filelock import FileLock, Timeout

        sign = self._sign(name)
        if not sign.exists():
            return False
        try:
            with FileLock(sign, timeout=0):
                pass
        except Timeout:
            return True
        sign.unlink(missing_ok=True)
        return False

    def _sign(self, name: str) -> Path:
        return self.path.with_name(f"{self.path.name}.sweepers") / f"{name}.lock"


@contextmanager
def storage_errors(shown: str) -> Iterator[None]:
    """Turn what Optuna, SQLAlchemy and the file system raise into one sentence.

    Raises:
        SweepError: The storage cannot be used.
    """
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError, OSError, ValueError, RuntimeError, ImportError) as error:
        cause: BaseException = error
        while isinstance(cause, StorageInternalError) and cause.__cause__ is not None:
            cause = cause.__cause__
        said = masked_text(" ".join(str(getattr(cause, "orig", None) or cause).split()))[:300].rstrip(".")
        raise SweepError(
            f"The storage {shown} cannot be used: {said}. Check that it is there and may be written, or set "
            "hydra.sweeper.storage to another."
        ) from error
