from __future__ import annotations

import json
import random
import shutil
import threading
import time
from pathlib import Path

import pytest

from embexp.errors import DataError, EmbexpError
from embexp.storage import checksums, stages
from embexp.storage.files import write_json
from embexp.storage.stages import DONE, Stage, StageCache, deletion_reported, discard


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


@pytest.mark.parametrize("text", ["", '{"pairs": 7', "[7]", "null", '{"content": {}, "checksum": ""}'])
def test_a_damaged_marker_means_that_the_step_is_done_again(tmp_path: Path, caplog, text: str) -> None:
    cache = StageCache(tmp_path)
    with cache.stage("pairs", "docs") as stage:
        stage.finish({"pairs": 7})
    (stage.folder / DONE).write_text(text)
    with cache.stage("pairs", "docs") as again:
        assert again.done is None
    assert_one_line(caplog, f"pairs: the cache in {stage.folder} is damaged (done.json was changed)")


def assert_one_line(caplog, words: str) -> None:
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert words in warning.message
    assert "\n" not in warning.message


def finished(cache: StageCache) -> Stage:
    """A stage with a file, a folder of files, and one that is of no use to later runs."""
    with cache.stage("pairs", "docs") as stage:
        (stage.folder / "pairs.jsonl").write_bytes(bytes(range(256)) * 4)
        (stage.folder / "model" / "deep").mkdir(parents=True)
        (stage.folder / "model" / "config.json").write_text('{"layers": 2}')
        (stage.folder / "model" / "deep" / "weights").write_bytes(bytes(300))
        (stage.folder / "scratch").write_text("anything")
        stage.finish({"pairs": 7}, "pairs.jsonl", "model")
    return stage


def reopened(cache: StageCache) -> Stage:
    with cache.stage("pairs", "docs") as stage:
        return stage


FILES = ["pairs.jsonl", "model/config.json", "model/deep/weights", DONE]


@pytest.mark.parametrize("seed", range(100))
def test_a_byte_that_changes_anywhere_is_noticed(tmp_path: Path, caplog, seed: int) -> None:
    draw, cache = random.Random(seed), StageCache(tmp_path)
    folder = finished(cache).folder
    path = folder / draw.choice(FILES)
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content))
    content[place] ^= 1 << draw.randrange(8)
    path.write_bytes(content)
    assert reopened(cache).done is None
    assert_one_line(caplog, f"{path.relative_to(folder)} was changed); it is computed again")
    assert [file.name for file in folder.iterdir()] == ["use.json"]


@pytest.mark.parametrize("name", ["pairs.jsonl", "model/config.json", "model"])
def test_a_file_that_is_cut_or_gone_is_noticed(tmp_path: Path, caplog, name: str) -> None:
    cache = StageCache(tmp_path)
    path = finished(cache).folder / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(path.read_bytes()[:-1])
    assert reopened(cache).done is None
    assert_one_line(caplog, "is missing" if name == "model" else "bytes and had")


def test_files_that_no_later_run_takes_may_change(tmp_path: Path, caplog) -> None:
    cache = StageCache(tmp_path)
    (finished(cache).folder / "scratch").unlink()
    assert reopened(cache).done == {"pairs": 7}
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_large_file_is_sampled_and_verified_whole(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(checksums, "BLOCK", 10)
    monkeypatch.setattr(checksums, "QUICK_BYTES", 200)
    file = tmp_path / "vectors"
    file.write_bytes(bytes(1000))
    records = checksums.record_files(tmp_path, ["vectors"])
    read: list[int] = []
    monkeypatch.setattr(checksums, "checksum", lambda data: read.append(len(data)) or "0" * 16)
    records["vectors"]["blocks"] = "0" * 16 * 100
    assert checksums.find_damage(tmp_path, records) is None
    assert 200 <= sum(read) <= 220
    assert checksums.find_damage(tmp_path, records, whole=True) is None
    assert sum(read) >= 1200


@pytest.mark.parametrize("place", [0, 5, 999, 995])
def test_the_first_and_the_last_block_are_always_read(tmp_path: Path, monkeypatch, place: int) -> None:
    monkeypatch.setattr(checksums, "BLOCK", 10)
    monkeypatch.setattr(checksums, "QUICK_BYTES", 10)
    file = tmp_path / "vectors"
    file.write_bytes(bytes(1000))
    records = checksums.record_files(tmp_path, ["vectors"])
    content = bytearray(1000)
    content[place] = 1
    file.write_bytes(content)
    assert checksums.find_damage(tmp_path, records) == "vectors was changed"


def test_a_stage_cannot_finish_without_its_files(tmp_path: Path) -> None:
    cache = StageCache(tmp_path)

    def finish_without_model() -> None:
        with cache.stage("pairs", "docs") as stage:
            (stage.folder / "pairs.jsonl").write_text("x")
            stage.finish({}, "pairs.jsonl", "model")

    with pytest.raises(EmbexpError, match="was deleted while this run used it"):
        finish_without_model()
    assert reopened(cache).done is None


@pytest.mark.parametrize("recreated", [True, False])
def test_a_folder_that_is_deleted_while_a_stage_works_in_it_ends_the_run(
    tmp_path: Path, recreated: bool
) -> None:
    cache = StageCache(tmp_path)

    def work() -> None:
        with cache.stage("pairs", "docs") as stage:
            shutil.rmtree(tmp_path)
            if recreated:  # as atomic writes do
                write_json(stage.folder / "pairs.jsonl", [])
            stage.finish({"pairs": 7}, "pairs.jsonl")

    with pytest.raises(EmbexpError, match="was deleted while this run used it: run the same command again"):
        work()
    assert reopened(cache).done is None


def test_another_error_in_a_stage_keeps_its_own_message(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), StageCache(tmp_path).stage("pairs", "docs"):
        raise ZeroDivisionError


@pytest.mark.parametrize("part", ["", "pairs"])
def test_the_deletion_of_the_cache_is_reported_whatever_error_it_causes(tmp_path: Path, part: str) -> None:
    root = tmp_path / "cache"

    def read_what_is_gone() -> None:
        with deletion_reported(root):
            folder = finished(StageCache(root)).folder
            shutil.rmtree(root / part)
            (folder / "pairs.jsonl").read_text()

    with pytest.raises(EmbexpError, match=r"cache.* was deleted while this run used it"):
        read_what_is_gone()


def test_a_missing_file_elsewhere_is_not_a_deleted_cache(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), deletion_reported(tmp_path / "cache"):
        (tmp_path / "other").read_text()


def test_a_stage_remembers_the_runs_that_used_it(tmp_path: Path) -> None:
    for run in ("A", "B", "A"):
        with StageCache(tmp_path, run=tmp_path / run).stage("pairs", "docs") as stage:
            pass
    assert json.loads((stage.folder / "use.json").read_text())["runs"] == [
        str(tmp_path / "A"),
        str(tmp_path / "B"),
    ]


@pytest.mark.parametrize(
    "error", [ValueError("odd"), KeyError("verdict"), DataError("no table"), OSError("gone")]
)
def test_a_result_that_cannot_be_read_counts_as_none_and_is_told(
    tmp_path: Path, caplog, error: Exception
) -> None:
    cache = StageCache(tmp_path)
    with cache.stage("pairs", "docs") as stage:
        assert stage.stored(dict) is None
        assert not caplog.records
        stage.finish({"pairs": 7})

    def fail(_: object) -> None:
        raise error

    with cache.stage("pairs", "docs") as again:
        assert again.stored(lambda done: done["pairs"]) == 7
        assert again.stored(fail) is None
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "is computed again" in warning.message
    assert str(stage.folder) in warning.message
