"""Whole runs on a cache that was damaged or deleted: never other scores, and the next run recovers."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.damages import CHECKPOINT_PLACES, PLACES, damage_one, scores_of
from tests.pipeline.pipeline_settings import TINY

CACHE = Path("outputs/cache")
GROUPS = {
    "data": ["documents", "pairs", "training pairs", "dev pairs", "test pairs"],
    "training": ["chunks", "model"],
    "results": ["training's result", "index", "retriever", "vectors"],
    "more results": ["scores", "keys", "dimension"],
}
"""Damages that one run meets together: every stage must find its own."""
STAGES = {
    "documents": "chunks",
    "chunks": "chunks",
    "pairs": "pairs",
    "training pairs": "splits",
    "dev pairs": "splits",
    "test pairs": "splits",
    "model": "finetune",
    "training's result": "finetune",
    "index": "benchmark",
    "scores": "benchmark",
    "rankings": "benchmark",
    "retriever": "retriever",
}
NAMED = re.compile(r" (\w+): the cache in \S+ is damaged \(.*\); it is computed again\.\n")


@pytest.fixture
def arguments(beir: Path) -> list[str]:
    options = ["tracker=none", "hydra.run.dir=X", *TINY, "trainer.evaluations=3"]
    return ["dataset=beir", f"dataset.path={beir}", *options]


def test_every_kind_of_damage_is_tried() -> None:
    assert {place for group in GROUPS.values() for place in group} | {"rankings"} == set(PLACES)


def test_damage_is_named_and_changes_no_score(run, arguments: list[str], tmp_path: Path) -> None:
    assert run("run", *arguments).code == 0
    expected = scores_of(tmp_path / "X")
    for seed, (group, places) in enumerate(GROUPS.items()):
        draw = random.Random(seed)
        unfinished = set()
        for place in places:
            file, how = damage_one(CACHE, PLACES[place], draw)
            if (file.name, how) == ("done.json", "delete"):
                unfinished.add(place)  # as if it had been interrupted: nothing says that it is damaged
        done = run("run", *arguments)
        assert done.code == 0, done.err
        assert scores_of(tmp_path / "X") == expected, group
        damaged = sorted({STAGES[place] for place in places if place in STAGES and place not in unfinished})
        assert sorted(NAMED.findall(done.err)) == damaged, done.err  # and nothing that was repaired before


@pytest.mark.parametrize("place", CHECKPOINT_PLACES)
def test_a_training_resumes_from_nothing_that_is_damaged(
    place: str, run, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("embexp.finetuning.trainer.select_weights", stop)
        assert run("finetune", *arguments).code == 2
    assert list((tmp_path / CACHE).glob("finetune/*/work/checkpoint-*/complete.json"))
    damage_one(CACHE, CHECKPOINT_PLACES[place], random.Random(1))
    assert run("finetune", *arguments).code == 0
    weights = (tmp_path / "X" / "model" / "model.safetensors").read_bytes()
    shutil.rmtree(tmp_path / CACHE)
    assert run("finetune", *arguments).code == 0
    assert weights == (tmp_path / "X" / "model" / "model.safetensors").read_bytes()


MOMENTS = {
    "before the documents are stored": ("finetune", "embexp.pipeline.data.write_chunks", "after"),
    "before the data is copied": ("finetune", "embexp.pipeline.run.save_data", "before"),
    "before a checkpoint is complete": (
        "finetune",
        "embexp.finetuning.checkpoints.Checkpoints.complete",
        "before",
    ),
    "before the model is copied": ("finetune", "embexp.pipeline.finetune.copy_folder", "before"),
    "before the results are stored": ("run", "embexp.pipeline.benchmark._write", "after"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_cache_that_is_deleted_ends_the_run_in_a_sentence_and_the_next_recovers(
    moment: str, run, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, target, when = MOMENTS[moment]
    with monkeypatch.context() as patch:
        patch.setattr(target, deleting(resolve(target), when, tmp_path / CACHE))
        done = run(command, *arguments)
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    (sentence,) = [line for line in done.err.splitlines() if "error: " in line]
    assert "was deleted while this run used it: run the same command again" in sentence
    again = run(command, *arguments)
    assert again.code == 0, again.err
    assert "damaged" not in again.err


def resolve(target: str) -> Callable[..., Any]:
    from pydoc import locate

    found = locate(target)
    assert callable(found)
    return found


def deleting(function: Callable[..., Any], when: str, cache: Path) -> Callable[..., Any]:
    """Delete the cache before or after the first call of a function."""
    calls: list[int] = []

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if when == "before" and len(calls) == 1:
            shutil.rmtree(cache)
        result = function(*arguments, **options)
        if when == "after" and len(calls) == 1:
            shutil.rmtree(cache)
        return result

    return call
