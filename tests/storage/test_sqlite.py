"""A database stands where its folder is, whatever the folder is called."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from embexp.storage.sqlite import sqlite_address
from embexp.sweeper.stores import FileStore

NAMES = ["kb", "a=b (c)", "größe#1", "100%", "%20", "what?", "?a=b", "{x}", "it's", "~x", "a;b&c"]


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_created_in_its_folder(name: str, tmp_path: Path) -> None:
    file = tmp_path / name / "x.db"
    file.parent.mkdir()
    with create_engine(sqlite_address(file)).begin() as connection:
        connection.execute(text("CREATE TABLE t (x INTEGER)"))
    assert sqlite3.connect(file).execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["{x}", "50% (why?)"])
def test_a_study_is_kept_in_its_folder(name: str, tmp_path: Path) -> None:
    storage = FileStore(tmp_path / name / "study.db").open()
    assert storage.get_all_studies() == []
    assert (tmp_path / name / "study.db").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
