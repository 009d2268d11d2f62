from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from embexp.errors import EmbexpError
from embexp.storage import files
from embexp.storage.files import atomic_write, copy_folder, sha256_of, sha256_of_file, sha256_of_rows
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


CODES = {
    errno.ENOSPC: r"No space left on the disk that holds .*free some .*embexp\.cache prune.* run the same",
    errno.EDQUOT: "Your disk quota is used up at .*free some",
    errno.EFBIG: "would be larger than the file system or your limits allow",
    errno.EROFS: "is on a file system that may only be read: choose another folder .*paths.cache",
    errno.EACCES: "may not be read or written: change its permissions",
    errno.EPERM: "may not be read or written: change its permissions",
    errno.ENAMETOOLONG: "is too long for the file system: choose a shorter one",
    errno.EIO: "fails to read or write: check it",
}


@pytest.mark.parametrize(("code", "sentence"), CODES.items())
def test_a_bad_disk_is_a_sentence(tmp_path: Path, monkeypatch, code: int, sentence: str) -> None:
    def broken(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(EmbexpError, match=sentence), atomic_write(tmp_path / "x.json") as stream:
        stream.write("x")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("(sqlite3.OperationalError) database or disk is full", "No space left"),
        ("attempt to write a readonly database", "may not be read or written"),
        ("disk I/O error", "fails to read or write"),
        ('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })', "No space left"),
        ("[enforce fail at x.cc:1] . PytorchStreamWriter failed writing file data/2", "No space left"),
        ("File name too long (os error 36)", "too long"),
        ("Quota exceeded (os error 122)", "quota"),
    ],
)
def test_what_libraries_say_of_a_disk_is_the_same_sentence(words: str, sentence: str) -> None:
    problem = files.disk_problem(RuntimeError(words), Path("here"))
    assert problem is not None
    assert sentence in str(problem)
    assert "here" in str(problem)


def test_the_cause_of_an_error_is_looked_at_too() -> None:
    error = RuntimeError("Saving failed")
    error.__cause__ = OSError(errno.ENOSPC, "full", "a", None, "b")
    assert "holds b:" in str(files.disk_problem(error))  # the target of a copy


@pytest.mark.parametrize(
    "error", [ValueError("odd"), FileNotFoundError(errno.ENOENT, "gone"), EmbexpError("disk is full")]
)
def test_other_errors_are_no_problem_of_a_disk(error: Exception) -> None:
    assert files.disk_problem(error) is None


def test_a_file_where_a_folder_has_to_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(EmbexpError, match=r"file.* would have to be a folder"),
        atomic_write(tmp_path / "file" / "below" / "deep") as stream,
    ):
        stream.write("x")


def test_a_long_path_is_shortened_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(EmbexpError) as raised, atomic_write(tmp_path / ("x" * 300) / "y") as stream:
        stream.write("x")
    assert len(str(raised.value)) < 300


def test_other_errors_of_the_system_pass_through(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), atomic_write(tmp_path / "folder") as stream:
        stream.write("x")


def test_what_a_library_puts_in_place_is_flushed_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors writes a file of its own and renames it: the stream's own file is then another one."""
    flushed: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(
        files.os, "fsync", lambda handle: (flushed.append(os.fstat(handle).st_ino), fsync(handle))
    )
    with atomic_write(tmp_path / "weights", "wb") as stream:
        (tmp_path / "another").write_bytes(b"weights")
        (tmp_path / "another").replace(stream.name)
        assert flushed == []
    assert (tmp_path / "weights").read_bytes() == b"weights"
    assert flushed == [(tmp_path / "weights").stat().st_ino, tmp_path.stat().st_ino]


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


@pytest.mark.parametrize("rows", [[], [("a", 1)], [("a", "ü\n"), ("b", "\ud800"), ("c", None)]])
def test_rows_have_the_digest_of_their_list(rows: list[tuple[object, ...]]) -> None:
    assert sha256_of_rows(iter(rows)) == sha256_of(rows)
