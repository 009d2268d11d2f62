"""The index of runs finds each, wherever its folder is; the list says what differs; removal is complete."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import embexp
from embexp import runs
from embexp.errors import DataError
from embexp.reporting.outcome import Outcome
from embexp.storage.run_index import finished_runs, record_run
from embexp.tracking.mlflow import MlflowTracker

Finish = Callable[..., Path]


@pytest.fixture
def finish(outcome: Outcome) -> Finish:
    """Leave what a run leaves, as far as the index and the list need it."""
    return partial(_finish, outcome)


def _finish(
    outcome: Outcome, folder: Path, cache: Path, *settings: str, minutes: int = 0, run_id: str = ""
) -> Path:
    (folder / ".hydra").mkdir(parents=True)
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(b"0" * 3000)
    lines = [f"- {text}" for text in (*settings, f"hydra.run.dir={folder}")]
    (folder / ".hydra" / "overrides.yaml").write_text("\n".join(lines) + "\n")
    config = f"tracker:\n  _target_: embexp.tracking.MlflowTracker\n  root: {cache.parent}\n"
    (folder / ".hydra" / "config.yaml").write_text(config)
    mlflow = {"experiment": "embexp", "run_id": run_id}
    outcome.model_copy(update={"mlflow": mlflow}).write(folder / "outcome.json")
    moment = 1_700_000_000 - 60 * minutes
    os.utime(folder / "outcome.json", (moment, moment))
    record_run(cache, folder)
    return folder.resolve()


@pytest.fixture
def two(tmp_path: Path, finish: Finish) -> tuple[Path, Path, Path]:
    """A cache, a run of today in a folder of its own, and one of an hour before below outputs/."""
    cache = tmp_path / "outputs" / "cache"
    older = finish(tmp_path / "outputs" / "a", cache, "loss=mnrl", "seed=3", minutes=60)
    newer = finish(tmp_path / "elsewhere" / "b (1)", cache, "loss=gist", "seed=3")
    return cache, newer, older


def test_the_newest_run_is_found_wherever_it_is(two, tmp_path: Path) -> None:
    cache, newer, older = two
    assert finished_runs(cache) == [newer, older]
    assert embexp.load_run(outputs=tmp_path / "outputs").folder == newer
    assert embexp.load_run(outputs=tmp_path / "nowhere", cache=cache).folder == newer


def test_a_run_of_another_cache_is_found_below_outputs(two, finish: Finish, tmp_path: Path) -> None:
    cache, newer, older = two
    other = finish(tmp_path / "outputs" / "c", tmp_path / "other", minutes=30)
    assert finished_runs(cache, tmp_path / "outputs") == [newer, other, older]


def test_a_run_that_is_gone_or_has_no_model_is_not_the_latest(two, tmp_path: Path) -> None:
    cache, newer, older = two
    (newer / "outcome.json").unlink()
    assert finished_runs(cache) == [older]
    (older / "model" / "weights").unlink()
    (older / "model").rmdir()
    with pytest.raises(DataError, match=r"no finished run below .* nor in the index"):
        embexp.load_run(outputs=tmp_path / "outputs")


def listed(two, capsys, *arguments: str) -> str:
    runs.main(["--cache", str(two[0]), "--outputs", str(two[0].parent), *arguments])
    return capsys.readouterr().out


def test_the_list_shows_what_differs(two, outcome: Outcome, capsys, monkeypatch) -> None:
    monkeypatch.chdir(two[0].parent.parent)
    monkeypatch.setenv("COLUMNS", "120")
    out = listed(two, capsys)
    first, second = (line for line in out.splitlines() if "loss=" in line)
    assert "b (1)" in first
    assert "loss=gist" in first
    assert "loss=mnrl" in second
    assert "seed=3" not in first + second
    assert "All have seed=3." in out
    assert "KB" in first
    assert outcome.comparison is not None
    assert outcome.comparison.verdict in first
    assert listed(two, capsys, "list") == out


def test_the_runs_are_values_in_python(two) -> None:
    found = runs.list_runs(two[0], two[0].parent)
    assert [run.folder for run in found] == list(two[1:])
    assert found[0].settings == ("loss=gist", "seed=3")
    assert found[0].size > 3000
    assert found[1].age == pytest.approx(found[0].age + 3600, abs=60)


def test_no_run_is_no_error(tmp_path: Path, capsys) -> None:
    runs.main(["--cache", str(tmp_path / "x"), "--outputs", str(tmp_path)])
    assert "no finished run here" in capsys.readouterr().out


def test_a_run_is_removed_from_disk_and_index(two, capsys) -> None:
    cache, newer, older = two
    assert "would delete" in listed(two, capsys, "remove", "--dry-run", str(newer))
    assert newer.exists()
    assert f"deleted {newer}" in listed(two, capsys, "remove", str(newer))
    assert not newer.exists()
    assert finished_runs(cache) == [older]
    assert len(list((cache / "runs").iterdir())) == 1


def test_a_folder_that_is_no_run_stays(two, tmp_path: Path, capsys) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(SystemExit) as end:
        runs.main(["remove", str(tmp_path / "photos")])
    assert end.value.code == 2
    assert "is not a finished run's folder" in capsys.readouterr().err
    assert (tmp_path / "photos").exists()


def test_a_run_is_removed_from_mlflow_with_its_children(finish: Finish, tmp_path: Path, capsys) -> None:
    cache = tmp_path / "cache"
    tracker = MlflowTracker(root=str(tmp_path))
    with tracker.run("run", params={}, tags={}) as run, run.child("finetune", params={}, tags={}) as child:
        pass
    with tracker.run("another", params={}, tags={}) as other:
        pass
    folder = finish(tmp_path / "a", cache, run_id=run.run_id)
    runs.main(["--cache", str(cache), "remove", "--mlflow", str(folder)])
    assert f"and the run {run.run_id} in MLflow" in capsys.readouterr().out
    stages = {each: run.client.get_run(each.run_id).info.lifecycle_stage for each in (run, child, other)}
    assert list(stages.values()) == ["deleted", "deleted", "active"]
    assert not folder.exists()
    tracker.delete(run.run_id)  # deleting twice is no error
