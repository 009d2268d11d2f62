from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from embexp.errors import DataError
from embexp.storage import stages
from embexp.storage.files import write_json
from embexp.storage.stages import DONE, StageCache, discard


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


@pytest.mark.parametrize("text", ["", '{"pairs": 7', "[7]", "null"])
def test_a_damaged_marker_means_that_the_step_is_done_again(tmp_path: Path, caplog, text: str) -> None:
    cache = StageCache(tmp_path)
    with cache.stage("pairs", "docs") as stage:
        stage.finish({"pairs": 7})
    (stage.folder / DONE).write_text(text)
    with cache.stage("pairs", "docs") as again:
        assert again.done is None
    assert f"{stage.folder / DONE} is damaged" in caplog.text


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
