"""Who is alive, who holds a lock, and what an address means."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embexp.errors import ConfigError
from embexp.sweeper.stores import FileStore, _lock_key, _with_driver, store_at

HOLD_LOCK = """
import sys, time
from pathlib import Path
from embexp.sweeper.stores import FileStore
with FileStore(Path("study.db")).liveness_lock() as name:
    Path("name").write_text(name + "\\n")
    time.sleep(3600)
"""


def test_a_name_is_alive_just_as_long_as_its_process(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD_LOCK], cwd=tmp_path, env=dict(os.environ))
    try:
        while not (tmp_path / "name").exists() or not (tmp_path / "name").read_text().endswith("\n"):
            assert process.poll() is None
            time.sleep(0.02)
        store, name = FileStore(tmp_path / "study.db"), (tmp_path / "name").read_text().strip()
        assert store.is_alive(name)
        process.send_signal(signal.SIGSTOP)  # it sleeps, and is alive nevertheless
        assert store.is_alive(name)
        process.kill()
        process.wait()
        assert not store.is_alive(name)
    finally:
        process.kill()


def test_a_name_ends_with_its_block(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "study.journal", journal=True)
    with store.liveness_lock() as name:
        assert store.is_alive(name)
    assert not store.is_alive(name)
    assert not store.is_alive("")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (None, "/sweep/study.db"),
        ("sqlite:////data/x.db", "/data/x.db"),
        ("/data/x.journal", "/data/x.journal"),
        ("postgresql://me:secret@host/x", "://me:********@host/x"),
    ],
)
def test_an_address_names_a_store(address: str | None, expected: str) -> None:
    assert store_at(address, Path("/sweep")).display_name.endswith(expected)


@pytest.mark.parametrize(
    "address", ["sqlite://", "sqlite:///", "redis://host", "study", "mysql://me:secret@h/x"]
)
def test_an_address_of_no_known_kind_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match=r"write sqlite:///FILE.db, FILE.journal, or") as caught:
        store_at(address, Path("/sweep"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("postgresql+psycopg2://u@h/d", "postgresql+psycopg2://u@h/d"), ("postgresql://u@h/d", "+psycopg")],
)
def test_a_driver_that_is_installed_is_chosen(address: str, expected: str) -> None:
    assert expected in _with_driver(address)


def test_a_lock_s_key_fits_into_sixty_four_bits_and_is_the_same_everywhere() -> None:
    # the first eight bytes of SHA-256("a") are ca978112ca1bbdca, above 2^63: less 2^64
    assert _lock_key("a") == 0xCA978112CA1BBDCA - 2**64
