"""What a process that has ended leaves to say why: a crash of its own, or the system's want of memory.

A sweeper that is killed says nothing about the trials that it ran. A trial that crashes the process, or that
makes the system end it for its memory, does so again. Each sweeper keeps a file while its trials run: Python
writes the stack to it when the process crashes (``faulthandler``), and it names the kernel's counter of
processes ended for want of memory, whose growth shows that this process was one of them.
"""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_COUNTER = "oom_kill"
_CRASH = "Fatal Python error: "
"""How ``faulthandler`` begins what it writes."""


@contextmanager
def crash_record(file: Path) -> Iterator[None]:
    """Keep a record for ``own_fault`` while the block runs; only a process that dies leaves it behind."""
    file.parent.mkdir(parents=True, exist_ok=True)
    enabled = faulthandler.is_enabled()
    with file.open("w", encoding="utf-8") as stream:
        counter = _memory_counter()
        if counter is not None:
            stream.write(f"{counter}\t{_processes_ended(counter)}\n")
            stream.flush()
        faulthandler.enable(stream, all_threads=False)
        try:
            yield
        finally:
            faulthandler.disable()
            if enabled and sys.__stderr__ is not None:
                faulthandler.enable(sys.__stderr__)
            file.unlink(missing_ok=True)


def own_fault(file: Path) -> str | None:
    """Return why a process ended by its own doing, as its record shows; None where nothing shows it.

    Args:
        file: The record of a process that has ended.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    if _CRASH in text:
        return f"its process crashed ({text.partition(_CRASH)[2].splitlines()[0]})"
    counter, _, before = text.partition("\n")[0].partition("\t")
    if before and (_processes_ended(Path(counter)) or 0) > int(before):
        return "the system ended its process for want of memory"
    return None


def _memory_counter() -> Path | None:
    """Return the file in which the kernel counts the processes of this control group that it ended."""
    try:
        lines = _OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None  # not Linux
    groups = {controllers: path.strip("/") for _, controllers, path in (line.split(":", 2) for line in lines)}
    for controller, file in (("", "memory.events"), ("memory", "memory.oom_control")):
        # A container may see its own group as the root.
        for group in dict.fromkeys([groups.get(controller, ""), ""]):
            counter = _CGROUPS / controller / group / file
            if _processes_ended(counter) is not None:
                return counter
    return None


def _processes_ended(counter: Path) -> int | None:
    """Return the counter's value; None where the control group is gone or counts nothing."""
    try:
        fields = counter.read_text(encoding="utf-8").split()
    except OSError:
        return None
    return int(fields[fields.index(_COUNTER) + 1]) if _COUNTER in fields else None
