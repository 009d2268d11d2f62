"""What a cache holds, and what pruning leaves of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from embexp.cache import main
from embexp.errors import DataError
from embexp.models.embedding_cache import EmbeddingCache
from embexp.storage.inventory import beyond, entries, not_used_for, of_run
from embexp.storage.stages import StageCache

DAY = 24 * 60 * 60


def leave(root: Path, name: str, *, size: int = 100, days: float = 0, run: Path | None = None) -> Path:
    """Leave a finished stage with a file of some bytes, last used some days ago."""
    with StageCache(root, run=run).stage(name, "docs") as stage:
        (stage.folder / "pairs.jsonl").write_bytes(bytes(size))
        stage.finish({}, "pairs.jsonl")
    set_age(stage.folder, days)
    return stage.folder


def set_age(folder: Path, days: float) -> None:
    for file in folder.iterdir():
        os.utime(file, (time.time() - days * DAY,) * 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache with three stages, vectors, an unfinished stage and an answer."""
    root = tmp_path / "cache"
    leave(root, "chunks", size=10_000, days=40, run=tmp_path / "old")
    leave(root, "pairs", size=20_000, days=20, run=tmp_path / "old")
    leave(root, "splits", size=30_000, days=1, run=tmp_path / "new")
    with StageCache(root).stage("finetune", "docs") as stage:
        (stage.folder / "half").write_bytes(bytes(5_000))
    EmbeddingCache(root / "embeddings").get_or_encode("m", "query", ["a"], lambda _: np.ones((1, 4)))
    (root / "llm").mkdir()
    (root / "llm" / "journal.jsonl").write_text("")
    return root


def kinds(found) -> list[str]:
    return [entry.kind for entry in found]


def test_everything_in_a_cache_is_listed_with_its_size_and_its_runs(root: Path, tmp_path: Path) -> None:
    found = {entry.kind: entry for entry in entries(root)}
    assert sorted(found) == ["chunks", "embeddings", "finetune", "llm", "pairs", "splits"]
    assert 20_000 < found["pairs"].size < 21_000
    assert found["pairs"].runs == (str(tmp_path / "old"),)
    assert [kind for kind, entry in found.items() if not entry.finished] == ["finetune"]


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no cache here"):
        entries(tmp_path / "nowhere")


@pytest.mark.parametrize(("days", "gone"), [(30, ["chunks"]), (10, ["chunks", "pairs"]), (100, [])])
def test_by_age_goes_what_was_not_used_for_so_long(root: Path, days: float, gone: list[str]) -> None:
    assert kinds(not_used_for(entries(root), days)) == gone


@pytest.mark.parametrize(("size", "gone"), [(10**6, []), (60_000, ["chunks"]), (40_000, ["chunks", "pairs"])])
def test_by_size_goes_what_was_used_least_recently(root: Path, size: int, gone: list[str]) -> None:
    assert kinds(beyond(entries(root), size)) == gone


def test_answers_that_were_paid_for_are_never_chosen(root: Path) -> None:
    set_age(root / "llm", 1000)
    assert "llm" not in kinds([*not_used_for(entries(root), 0), *beyond(entries(root), 0)])


def test_by_run_goes_what_no_other_run_uses(root: Path, tmp_path: Path) -> None:
    leave(root, "pairs", run=tmp_path / "new")
    assert kinds(of_run(entries(root), tmp_path / "old")) == ["chunks", "pairs"]  # new has no folder
    (tmp_path / "new").mkdir()
    assert kinds(of_run(entries(root), tmp_path / "old")) == ["chunks"]
    with pytest.raises(DataError, match="no result in the cache comes from this run"):
        of_run(entries(root), tmp_path / "other")


def test_pruning_leaves_the_rest_and_what_is_in_use(root: Path, capsys) -> None:
    with StageCache(root).stage("pairs", "docs"):
        set_age(root / "pairs" / next((root / "pairs").iterdir()).stem, 20)
        main(["prune", "--cache", str(root), "--older-than", "10d"])
    assert "1 entry deleted" in (out := capsys.readouterr().out)
    assert "1 entry left, because a process is using them" in out
    assert sorted(kinds(entries(root))) == ["embeddings", "finetune", "llm", "pairs", "splits"]


def test_a_dry_run_deletes_nothing(root: Path, capsys) -> None:
    before = kinds(entries(root))
    main(["prune", "--cache", str(root), "--keep", "0", "--dry-run"])
    assert "5 entries would be deleted" in capsys.readouterr().out
    assert kinds(entries(root)) == before


def test_list_and_size_name_every_entry(root: Path, capsys) -> None:
    main(["list", "--cache", str(root)])
    out = capsys.readouterr().out
    assert all(kind in out for kind in ("chunks", "embeddings", "finetune", "llm", "pairs", "splits"))
    assert "(unfinished)" in out
    main(["size", "--cache", str(root)])
    out = capsys.readouterr().out
    assert "19.8 KiB" in out or "20.0 KiB" in out or "19.9 KiB" in out
    assert "6 entries" in out


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_verify_passes_what_is_whole(root: Path, capsys) -> None:
    main(["verify", "--cache", str(root)])
    assert "6 entries checked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "place", "words"),
    [
        ("pairs/*/pairs.jsonl", 19_999, "pairs.jsonl was changed"),
        ("chunks/*/done.json", 30, "done.json was changed"),
        ("embeddings/*/vectors.f32", 3, "1 of 1 rows were changed"),
    ],
)
def test_verify_names_what_is_damaged_and_deletes_it_if_asked_to(
    root: Path, capsys, file: str, place: int, words: str
) -> None:
    (path,) = root.glob(file)
    flip(path, place)
    with pytest.raises(SystemExit) as end:
        main(["verify", "--cache", str(root)])
    said = capsys.readouterr()
    assert end.value.code == 2
    assert words in said.out
    assert "1 of 6 entries damaged" in said.err
    assert path.exists()
    main(["verify", "--cache", str(root), "--delete"])
    assert "1 entry deleted" in capsys.readouterr().out
    main(["verify", "--cache", str(root)])


def test_verify_keeps_a_damaged_answer_and_names_its_line(root: Path, capsys) -> None:
    (root / "llm" / "journal.jsonl").write_text('{"key": "00"\n')
    with pytest.raises(SystemExit) as end:
        main(["verify", "--cache", str(root), "--delete"])
    assert end.value.code == 2
    assert "journal.jsonl:1" in capsys.readouterr().out
    assert (root / "llm" / "journal.jsonl").exists()


@pytest.mark.parametrize(
    "arguments", [["prune"], ["prune", "--older-than", "soon"], ["prune", "--keep", "much"], ["clean"]]
)
def test_a_mistake_on_the_command_line_ends_with_2(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2


def test_a_missing_cache_ends_with_2_and_one_sentence(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(["list", "--cache", str(tmp_path / "nowhere")])
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
