"""How many threads a process should compute with: one for each core that it really has."""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")


def choose_threads(environment: MutableMapping[str, str] = os.environ) -> int | None:
    """Set the number of threads that torch and its kin start with, unless the surroundings did.

    Call it before torch is imported. Matrix products gain nothing from a core's second hyperthread, and
    lose much where a container may use less of the machine than it sees.

    Returns:
        The number, or None where it was given.
    """
    if environment.get("OMP_NUM_THREADS"):
        return None
    threads = usable_cores()
    environment["OMP_NUM_THREADS"] = str(threads)
    return threads


def usable_cores(cpus: Path = CPUS, cgroups: Path = CGROUPS) -> int:
    """Return the cores that this process may use: those of its affinity, within its control group's quota."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    found = {_siblings(cpus, cpu) for cpu in allowed}
    cores = len(found) or os.cpu_count() or 1
    quota = _quota(cgroups)
    return cores if quota is None else max(1, min(cores, math.floor(quota)))


def _siblings(cpus: Path, cpu: int) -> str:
    """Return the name of the core that a CPU is a hyperthread of."""
    text = _read(cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list")
    return text or str(cpu)


def _quota(cgroups: Path) -> float | None:
    """Return how many CPUs' time the control group grants, None for no limit."""
    found = _read(cgroups / "cpu.max").split()  # version 2: "QUOTA PERIOD", the first perhaps "max"
    if not found:
        found = [_read(cgroups / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    quota, period = [*found, "", ""][:2]
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
