from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest

from embexp.data.record_files import export_csv, export_parquet, read_jsonl, write_jsonl
from embexp.data.records import Chunk, Generator, Pair
from embexp.errors import DataError, EmbexpError
from embexp.storage import files, stages
from embexp.storage.files import atomic_write, copy_folder, sha256_of, sha256_of_file, write_json
from embexp.storage.manifest import write_manifest
from embexp.storage.stages import StageCache, discard

PAIR = Pair(
    id="p1",
    query="how to cap a deque?",
    positive="maxlen bounds it",
    document_id="collections.deque",
    negatives=("a list",),
    label=0.5,
    generator=Generator(kind="llm", model="m", usage={"prompt_tokens": 3}),
)


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
    [(errno.ENOSPC, "No space left"), (errno.EACCES, "may not be written")],
)
def test_a_bad_disk_is_a_sentence(tmp_path: Path, monkeypatch, code: int, sentence: str) -> None:
    def broken(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", broken)
    with pytest.raises(EmbexpError, match=sentence), atomic_write(tmp_path / "x.json") as stream:
        stream.write("x")
    assert names(tmp_path) == []


def test_other_errors_of_the_system_pass_through(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"), atomic_write(tmp_path / "file" / "below") as stream:
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


def test_pairs_survive_the_way_through_a_file(tmp_path: Path) -> None:
    assert write_jsonl(tmp_path / "pairs.jsonl", [PAIR]) == 1
    assert list(read_jsonl(tmp_path / "pairs.jsonl", Pair)) == [PAIR]


def test_a_broken_line_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "chunks.jsonl"
    path.write_text('{"id": "a", "document_id": "d", "text": "t"}\n{"id": \n')
    with pytest.raises(DataError, match=r"chunks\.jsonl:2: not a Chunk record"):
        list(read_jsonl(path, Chunk))


def test_exports_load_with_pandas_in_one_line(tmp_path: Path) -> None:
    import pandas

    assert export_csv(tmp_path / "pairs.csv", [PAIR]) == 1
    assert export_parquet(tmp_path / "pairs.parquet", [PAIR] * 3) == 3
    assert pandas.read_csv(tmp_path / "pairs.csv").loc[0, "query"] == PAIR.query
    table = pandas.read_parquet(tmp_path / "pairs.parquet")
    assert table["label"].tolist() == [0.5, 0.5, 0.5]
    assert json.loads(table.loc[0, "negatives"]) == ["a list"]


def test_a_manifest_states_what_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write_jsonl(path, [PAIR])
    manifest = json.loads(write_manifest(path, records=1, settings={"seed": 3}, commit="abc").read_text())
    assert (tmp_path / "train.manifest.json").exists()
    assert manifest["sha256"] == sha256_of_file(path)
    assert (manifest["records"], manifest["settings"], manifest["git_commit"]) == (1, {"seed": 3}, "abc")


def test_a_second_worker_waits_for_the_first_and_takes_its_result(tmp_path: Path, caplog) -> None:
    cache, results = StageCache(tmp_path), []

    def second() -> None:
        with cache.stage("pairs", "docs") as stage:
            results.append(stage.done)

    with caplog.at_level("INFO"), cache.stage("pairs", "docs") as stage:
        thread = threading.Thread(target=second)
        thread.start()
        while "waiting for its result" not in caplog.text:
            time.sleep(0.01)
        stage.finish({"pairs": 7})
    thread.join()
    assert results == [{"pairs": 7}]


def test_a_stage_is_worked_once_for_the_same_inputs(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    with cache.stage("pairs", "docs", {"target": 5}) as stage:
        assert stage.done is None
        write_json(stage.folder / "half.json", [1])
    with cache.stage("pairs", "docs", {"target": 5}) as stage:
        assert stage.done is None
        assert (stage.folder / "half.json").exists()  # a cut-off stage gets its folder back
        stage.finish({"pairs": 7})
    with cache.stage("pairs", "docs", {"target": 5}) as stage:
        assert stage.done == {"pairs": 7}
    with cache.stage("pairs", "docs", {"target": 6}) as stage:
        assert stage.done is None


def test_another_version_of_embexp_uses_another_folder(tmp_path: Path, monkeypatch) -> None:
    cache = StageCache(tmp_path)
    before = cache.folder("suite", "STSBenchmark")
    monkeypatch.setattr(stages, "__version__", "0.0.0")
    assert cache.folder("suite", "STSBenchmark") != before


def test_a_stage_in_use_is_not_discarded(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)
    with cache.stage("pairs", "docs") as stage:
        assert not discard(stage.folder)
        assert stage.folder.is_dir()
    assert discard(stage.folder)
    assert not stage.folder.exists()
