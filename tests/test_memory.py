from __future__ import annotations

import logging
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embexp import memory
from embexp.errors import EmbexpError
from embexp.memory import (
    MemoryShortError,
    available_memory,
    memory_problem,
    new_matrix,
    warn_of_address_space,
    warn_of_memory,
)

MIB, GIB = 2**20, 2**30


def system(root: Path, *, free: int, groups: dict[str, dict[str, str]], own: str) -> tuple[Path, Path]:
    """Write what the kernel would show of a machine with ``free`` bytes and of its control groups."""
    proc, cgroups = root / "proc", root / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:  {free // 1024} kB\n")
    (proc / "self" / "cgroup").write_text(own)
    (proc / "self" / "status").write_text("VmSize:\t1024 kB\nVmData:\t512 kB\n")
    for name, files in groups.items():
        folder = cgroups / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text)
    return proc, cgroups


def version_2(most: str, used: int, files: int = 0) -> dict[str, str]:
    return {
        "memory.max": f"{most}\n",
        "memory.current": f"{used}\n",
        "memory.stat": f"anon 1\ninactive_file {files}\n",
    }


@pytest.mark.parametrize(
    ("groups", "own", "expected"),
    [
        pytest.param({}, "", 8 * GIB, id="no control group"),
        pytest.param({"a/b": version_2("max", 5)}, "0::/a/b\n", 8 * GIB, id="no limit"),
        pytest.param({"a/b": version_2(str(2 * GIB), GIB)}, "0::/a/b\n", GIB, id="version 2"),
        pytest.param(
            {"a/b": version_2(str(2 * GIB), GIB, 512 * MIB)}, "0::/a/b\n", GIB + 512 * MIB, id="files can go"
        ),
        pytest.param(
            {"a": version_2(str(3 * GIB), 2 * GIB), "a/b": version_2("max", 5)},
            "0::/a/b\n",
            GIB,
            id="the group above limits",
        ),
        pytest.param(
            {"": version_2(str(GIB), 2 * GIB)},
            "0::/of/the/host\n",
            0,
            id="a container's root, over its limit",
        ),
        pytest.param(
            {
                "memory/x": {
                    "memory.limit_in_bytes": str(4 * GIB),
                    "memory.usage_in_bytes": str(GIB),
                    "memory.stat": "total_inactive_file 0\n",
                }
            },
            "3:cpu:/\n2:memory:/x\n",
            3 * GIB,
            id="version 1",
        ),
        pytest.param({"a": version_2(str(100 * GIB), 0)}, "0::/a\n", 8 * GIB, id="the machine has less"),
    ],
)
def test_what_is_available_is_the_least_of_all_limits(
    tmp_path: Path, groups: dict[str, dict[str, str]], own: str, expected: int
) -> None:
    proc, cgroups = system(tmp_path, free=8 * GIB, groups=groups, own=own)
    assert available_memory(proc, cgroups) == expected


def test_a_system_that_says_nothing_has_no_limit(tmp_path: Path) -> None:
    assert available_memory(tmp_path, tmp_path) is None


@pytest.mark.parametrize(("limit", "left"), [("RLIMIT_AS", 3 * MIB), ("RLIMIT_DATA", 4 * MIB - 512 * 1024)])
def test_limits_of_the_process_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, left: int
) -> None:
    proc, cgroups = system(tmp_path, free=8 * GIB, groups={}, own="")
    wanted = getattr(resource, limit)
    limits = {wanted: (4 * MIB, 4 * MIB)}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: limits.get(kind, (resource.RLIM_INFINITY,) * 2))
    assert available_memory(proc, cgroups) == left


def test_a_step_that_needs_more_is_told_before_it_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 2 * GIB)
    warn_of_memory(GIB, "The graph", "take fewer documents")
    assert not caplog.messages
    warn_of_memory(5 * GIB, "The graph", "take fewer documents")
    assert caplog.messages == [
        "The graph needs about 5 GiB of memory, and 2 GiB is available to this process: take fewer documents."
    ]


def test_a_matrix_that_does_not_fit_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not isinstance(new_matrix(10, 4, tmp_path, what="The vectors"), np.memmap)
    monkeypatch.setattr(memory, "available_memory", lambda: 100)
    monkeypatch.setattr(memory, "address_space_left", lambda: None)
    matrix = new_matrix(10, 4, tmp_path / "not" / "there", what="The vectors")
    matrix[:] = 1
    assert isinstance(matrix, np.memmap)
    assert matrix.sum() == 40
    assert list(tmp_path.iterdir()) == []  # the file has no name
    assert "The vectors needs" in caplog.text
    assert f"it is kept in a file in {tmp_path}, which is slower" in caplog.text


def test_an_address_space_too_small_for_a_file_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: GIB)
    monkeypatch.setattr(memory, "address_space_left", lambda: GIB)
    with pytest.raises(MemoryShortError, match=r"needs about 3\.7 GiB .* and 1 GiB is available .*ulimit -v"):
        new_matrix(1_000_000, 1_000, tmp_path, what="The vectors")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9 GiB for an array"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 12 bytes"),
        ImportError("x.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_want_of_memory_is_a_sentence(error: Exception) -> None:
    problem = memory_problem(error)
    assert problem is not None
    assert str(problem).startswith("Memory ran out (")
    assert "Finished stages are kept" in str(problem)


@pytest.mark.parametrize(
    "error", [ValueError("no"), EmbexpError("cannot allocate memory"), KeyboardInterrupt()]
)
def test_other_errors_are_not_taken_for_it(error: BaseException) -> None:
    assert memory_problem(error) is None


@pytest.mark.parametrize(("left", "told"), [(2 * GIB, True), (9 * GIB, False), (None, False)])
def test_little_address_space_is_told_at_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, left: int | None, told: bool
) -> None:
    monkeypatch.setattr(memory, "address_space_left", lambda: left)
    with caplog.at_level(logging.WARNING):
        warn_of_address_space()
    assert ("needs about 3 GiB of address space, and 2 GiB is available" in caplog.text) == told


def test_a_real_limit_on_the_address_space_is_seen() -> None:
    code = "from embexp.memory import available_memory as a; print(a() < 2**31)"
    limited = f"ulimit -v {2**21} && exec {sys.executable} -c '{code}'"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
