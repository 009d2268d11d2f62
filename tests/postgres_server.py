"""A real PostgreSQL from Debian's package, in a temporary folder and on a loopback port."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BINARIES = Path("/usr/lib/postgresql")
USER = "postgres"


def binaries() -> Path | None:
    """Return the newest installed PostgreSQL's folder of programs; None where there is none."""
    found = sorted(BINARIES.glob("*/bin/initdb"), key=lambda path: float(path.parent.parent.name))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def why_not() -> str:
    """Return why no PostgreSQL can be started here; empty where one can."""
    if binaries() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and not _exists(USER):
        return f"PostgreSQL refuses to run as root, and there is no user {USER}"
    try:
        import psycopg2  # noqa: F401
    except ImportError:
        return "psycopg2 is not installed (pip install embexp[postgres])"
    return ""


@contextmanager
def started() -> Iterator[str]:
    """Run a fresh cluster in a temporary folder and yield the address of its database; stop it at the end."""
    programs = binaries()
    if programs is None:
        raise FileNotFoundError("initdb")
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        if os.geteuid() == 0:  # the server refuses root, and its own user must own the folder
            shutil.chown(folder, USER)
        data, port = Path(folder) / "data", free_port()
        _run(programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        _run(programs / "pg_ctl", "-D", data, "-w", "-l", data / "log", "-o", settings, "start")
        try:
            yield f"postgresql+psycopg2://{USER}@127.0.0.1:{port}/postgres"
        finally:
            _run(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")


def new_database(address: str, name: str) -> str:
    """Create an empty database beside the one at ``address`` and return its own address."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()
    return f"{address.rpartition('/')[0]}/{name}"


def free_port() -> int:
    """Return a loopback port that nothing uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _run(*command: object) -> None:
    """Run a program of PostgreSQL, as its own user where the tests run as root."""
    user = USER if os.geteuid() == 0 else None
    done = subprocess.run(
        [str(part) for part in command],
        user=user,
        group=user,
        extra_groups=[] if user else None,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr}")
