"""What the record of a process that has ended says about its end."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from embexp.sweeper import crashes
from embexp.sweeper.crashes import crash_record, own_fault

ENDING = """
import os, signal, sys
from pathlib import Path
from embexp.sweeper.crashes import crash_record

with crash_record(Path(sys.argv[1])):
    os.kill(os.getpid(), int(sys.argv[2]))
    signal.pause()
"""


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (signal.SIGSEGV, "its process crashed (Segmentation fault)"),
        (signal.SIGABRT, "its process crashed (Aborted)"),
        (signal.SIGKILL, None),
        (signal.SIGTERM, None),
    ],
)
def test_a_crash_is_told_from_a_kill(tmp_path: Path, number: signal.Signals, fault: str | None) -> None:
    record = tmp_path / "crashes" / "one.txt"
    command = [sys.executable, "-c", ENDING, str(record), str(int(number))]
    assert subprocess.run(command, check=False).returncode == -number
    assert own_fault(record) == fault


@pytest.mark.parametrize(
    ("groups", "counter", "text"),
    [
        ("0::/user.slice/one\n", "user.slice/one/memory.events", "low 0\noom 1\noom_kill {}\n"),
        ("0::/\n4:memory:/one\n", "memory/one/memory.oom_control", "under_oom 0\noom_kill {}\n"),
        ("0::/elsewhere\n", "memory.events", "oom_kill {}\n"),  # a container that is its own root
    ],
)
def test_an_end_for_want_of_memory_is_seen_in_the_kernel_s_counter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: str, counter: str, text: str
) -> None:
    monkeypatch.setattr(crashes, "_CGROUPS", tmp_path)
    monkeypatch.setattr(crashes, "_OWN_CGROUP", tmp_path / "groups")
    (tmp_path / "groups").write_text(groups)
    (tmp_path / counter).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / counter).write_text(text.format(7))
    with crash_record(tmp_path / "record.txt"):
        left = (tmp_path / "record.txt").read_text()
    assert not (tmp_path / "record.txt").exists()  # it ended well
    (tmp_path / "record.txt").write_text(left)
    assert own_fault(tmp_path / "record.txt") is None
    (tmp_path / counter).write_text(text.format(8))
    assert own_fault(tmp_path / "record.txt") == "the system ended its process for want of memory"
    (tmp_path / counter).unlink()
    assert own_fault(tmp_path / "record.txt") is None  # the group is gone: nothing shows it


def test_without_a_record_nothing_is_held_against_a_process(tmp_path: Path) -> None:
    assert own_fault(tmp_path / "none.txt") is None
