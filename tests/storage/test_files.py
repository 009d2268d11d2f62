from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from embexp.errors import EmbexpError
from embexp.storage import files
from embexp.storage.files import atomic_write, copy_folder, sha256_of, sha256_of_file
from embexp.storage.manifest import write_manifest


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_and_fail(target: Path) -> None:
    with atomic_write(target) as stream:
        stream.write("new")
        raise ZeroDivisionError


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path: Path) -> None:
    target = tmp_path / "pairs.jsonl"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_and_fail(target)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["pairs.jsonl"]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [(errno.ENOSPC, "No space left"), (errno.EACCES, "may not be read or written")],
)
def test_a_bad_disk_is_a_sentence(tmp_path: Path, monkeypatch, code: int, sentence: str) -> None:
    def broken(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(EmbexpError, match=sentence), atomic_write(tmp_path / "x.json") as stream:
        stream.write("x")
    assert names(tmp_path) == []


def test_other_errors_of_the_system_pass_through(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path / "folder") as stream:
        stream.write("x")


def test_digests_depend_on_content_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert (
        sha256_of_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
    assert sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1}) != sha256_of({"a": 1, "b": 3})


def test_a_copy_replaces_a_folder_whole(tmp_path: Path) -> None:
    for name, text in (("source", "new"), ("target", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.txt").write_text(text)
    copy_folder(tmp_path / "source", tmp_path / "target")
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["source.txt"]
    with pytest.raises(FileNotFoundError):
        copy_folder(tmp_path / "nowhere", tmp_path / "target")
    assert names(tmp_path) == ["source", "target"]


def test_a_manifest_states_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("{}\n")
    manifest = json.loads(write_manifest(path, records=1, settings={"seed": 3}, commit="abc").read_text())
    assert (tmp_path / "train.manifest.json").exists()
    assert manifest["sha256"] == sha256_of_file(path)
    assert (manifest["records"], manifest["settings"], manifest["git_commit"]) == (1, {"seed": 3}, "abc")


def test_a_disk_that_fills_while_a_folder_is_copied_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("w")
    monkeypatch.setattr("shutil.copy2", full)

    with pytest.raises(EmbexpError, match=r"No space left on the disk that holds .*free some"):
        copy_folder(tmp_path / "model", tmp_path / "run" / "model")
    assert list((tmp_path / "run").iterdir()) == []
