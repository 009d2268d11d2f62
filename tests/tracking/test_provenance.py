from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from embexp.tracking import provenance as module
from embexp.tracking.provenance import _gpu, git_commit, provenance


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if not module.shutil.which("git"):
        pytest.skip("git is not installed")
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    for command in (("init", "-q"), ("add", "a.txt"), (*identity, "commit", "-qm", "first")):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    return folder


def test_a_clean_repository_gives_its_commit(repository: Path) -> None:
    commit = git_commit(repository)
    assert commit is not None
    assert len(commit) == 40


def test_a_changed_file_makes_it_dirty_and_an_untracked_one_does_not(repository: Path) -> None:
    (repository / "new.txt").write_text("untracked")
    assert not str(git_commit(repository)).endswith("-dirty")
    (repository / "a.txt").write_text("two")
    assert str(git_commit(repository)).endswith("-dirty")


def test_a_folder_that_git_does_not_track_has_no_commit(repository: Path) -> None:
    (repository / "venv").mkdir()
    assert git_commit(repository / "venv") is None


def test_no_repository_means_no_commit(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None


def test_missing_programs_are_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) is None
    assert _gpu() == ""
    result = provenance()
    assert "git_commit" not in result
    assert "gpu" not in result
    assert int(result["cpus"]) >= 1


def test_a_program_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.05)
    assert module._output("sleep", "5") is None


def test_versions_are_there_and_unknown_packages_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("pytest", "no-such-package"))
    result = provenance()
    assert result["pytest"] == pytest.__version__
    assert "no_such_package" not in result


def test_cpus_are_counted_where_affinity_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(module.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(module.os, "cpu_count", lambda: None)
    assert module._cpus() == 1
