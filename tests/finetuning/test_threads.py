"""The number of threads follows affinity, hyperthreads and quota, and never overrules the surroundings."""

from __future__ import annotations

import os

import pytest

from embexp.finetuning.cpu import choose_threads, usable_cores


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Four CPUs in two cores of two hyperthreads, all of them allowed."""
    for cpu, siblings in enumerate(["0,2", "1,3", "0,2", "1,3"]):
        folder = tmp_path / "cpu" / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    (tmp_path / "cgroup").mkdir()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    return tmp_path


def cores(machine) -> int:
    return usable_cores(machine / "cpu", machine / "cgroup")


def test_hyperthreads_count_once(machine):
    assert cores(machine) == 2


def test_affinity_bounds_the_cores(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2})
    assert cores(machine) == 1


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("900000 100000", 2), ("nonsense", 2)],
)
def test_a_quota_bounds_the_cores(machine, quota, expected):
    (machine / "cgroup" / "cpu.max").write_text(f"{quota}\n")
    assert cores(machine) == expected


def test_the_first_version_of_control_groups_is_read_too(machine):
    folder = machine / "cgroup" / "cpu"
    folder.mkdir()
    (folder / "cpu.cfs_quota_us").write_text("100000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(machine) == 1
    (folder / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores(machine) == 2


def test_unknown_topology_counts_cpus(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5, 6}, raising=False)
    assert usable_cores(tmp_path / "none", tmp_path / "none") == 3


def test_a_given_number_stays():
    assert choose_threads({"OMP_NUM_THREADS": "3"}) is None
    environment: dict[str, str] = {}
    assert environment.setdefault("OMP_NUM_THREADS", str(choose_threads(environment))) == str(usable_cores())
