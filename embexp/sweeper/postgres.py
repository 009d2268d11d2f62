"""A study in PostgreSQL: any number of machines, with advisory locks in the place of lock files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from embexp.errors import SweepError
from embexp.sweeper.stores import new_name, storage_errors
from embexp.tracking.masking import masked_text

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy import Connection

CONNECT = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
SERVER_KEEPALIVES = ("tcp_keepalives_idle = 30", "tcp_keepalives_interval = 10", "tcp_keepalives_count = 3")
"""Without these a server notices after two hours that a machine was switched off."""


class PostgresStore:
    """A database; a lock belongs to a connection and goes when the connection does."""

    def __init__(self, address: str) -> None:
        self._address = with_driver(address)

    @property
    def shown(self) -> str:
        """The address, its password masked."""
        return masked_text(self._address)

    def open(self) -> BaseStorage:
        """Return Optuna's storage; its tables are created by one process at a time.

        Raises:
            SweepError: No server answers, or the driver is missing.
        """
        from optuna.storages import RDBStorage

        with self._holding("embexp tables"), storage_errors(self.shown):
            return RDBStorage(self._address, engine_kwargs={"connect_args": CONNECT, "pool_pre_ping": True})

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the advisory lock of that name."""
        with self._holding(f"embexp {name}"):
            yield

    @contextmanager
    def sign_in(self) -> Iterator[str]:
        """Hold an advisory lock under a new name, on a connection that stays open."""
        name = new_name()
        with self._holding(f"embexp sweeper {name}"):
            yield name

    def alive(self, name: str) -> bool:
        """Say whether a connection still holds that name's lock."""
        from sqlalchemy import text

        with storage_errors(self.shown), self._connection() as connection:
            key = {"key": lock_key(f"embexp sweeper {name}")}
            return not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), key).scalar()

    @contextmanager
    def _holding(self, name: str) -> Iterator[None]:
        from sqlalchemy import text

        with self._connection() as connection:
            with storage_errors(self.shown):
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock_key(name)})
            yield

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """Open a connection of its own; closing it frees the locks it holds."""
        from sqlalchemy import create_engine, text
        from sqlalchemy.pool import NullPool

        try:
            engine = create_engine(
                self._address, poolclass=NullPool, connect_args=CONNECT, isolation_level="AUTOCOMMIT"
            )
        except ImportError as error:
            raise SweepError(
                f"The storage {self.shown} needs a driver that is not installed ({error}): "
                'pip install "embexp[postgres]".'
            ) from error
        with storage_errors(self.shown):
            connection = engine.connect()
        try:
            with storage_errors(self.shown):
                for setting in SERVER_KEEPALIVES:
                    connection.execute(text(f"SET {setting}"))
            yield connection
        finally:
            connection.close()


def with_driver(address: str) -> str:
    """Name the driver in an address that leaves it open: psycopg where it is installed, else psycopg2."""
    driver = "psycopg" if find_spec("psycopg") else "psycopg2"
    scheme, _, rest = address.partition("://")
    return f"{scheme}+{driver}://{rest}" if scheme == "postgresql" else address


def lock_key(name: str) -> int:
    """Return a signed 64-bit number for a name: what PostgreSQL's advisory locks are known by."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
