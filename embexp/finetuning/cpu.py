"""Fast training on a CPU: allocator settings, threads and how they wait, and cheap dropout masks."""

from __future__ import annotations

import ctypes
import math
import os
import re
import sys
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.memory import address_space_left, available_memory

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
_GIB = 1 << 30
_PLENTY = 6 * _GIB
"""The available memory above which freed blocks are kept."""
_INT_MAX = (1 << 31) - 1


def prepare_torch() -> None:
    """Set the memory allocator, the number of threads and how they wait; call it before torch is imported."""
    tune_allocator()
    choose_threads()
    shorten_waits()


def tune_allocator() -> bool:
    """Have glibc keep large freed blocks, so that training steps reuse memory instead of mapping it anew.

    Activations of a batch are tens of megabytes each; by default glibc maps and unmaps each of them,
    and the kernel zeroes every page anew. Call it before torch is imported; calling it later, or
    twice, is safe. The settings are those of mallopt(3): M_MMAP_THRESHOLD 1 GiB, M_TRIM_THRESHOLD
    as high as it goes, M_TOP_PAD 512 MiB.

    Returns:
        True if glibc accepted the settings, False if there is no glibc, or little memory or address space
        (``ulimit -v``), which kept blocks would use up.
    """
    available = available_memory()
    if not sys.platform.startswith("linux") or available is None or available < _PLENTY:
        return False
    if address_space_left() is not None:
        return False
    try:
        libc = ctypes.CDLL(None)
        _ = libc.gnu_get_libc_version
        mallopt = libc.mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    mallopt.restype = ctypes.c_int
    # Older versions refuse a threshold above 32 MiB; mapping nothing at all has the same effect there.
    mapped = mallopt(_M_MMAP_THRESHOLD, _GIB) or mallopt(_M_MMAP_MAX, 0)
    kept = mallopt(_M_TRIM_THRESHOLD, _INT_MAX)
    padded = mallopt(_M_TOP_PAD, _GIB // 2)
    return bool(mapped and kept and padded)


CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")
LOAD = Path("/proc/loadavg")


def choose_threads(environment: MutableMapping[str, str] = os.environ) -> int | None:
    """Set ``OMP_NUM_THREADS`` to the number of usable cores, unless it is set.

    Call it before torch is imported. Matrix products gain nothing from a core's second hyperthread, and
    slow down much in a container that may use fewer cores than it sees.

    Returns:
        The number, or None if it was set already.
    """
    if environment.get("OMP_NUM_THREADS"):
        return None
    threads = usable_cores()
    environment["OMP_NUM_THREADS"] = str(threads)
    return threads


def shorten_waits(environment: MutableMapping[str, str] = os.environ, load: Path = LOAD) -> bool:
    """Have threads that wait for work give their core away soon where other processes keep the cores busy.

    Call it after ``choose_threads`` and before torch is imported. A thread of GNU OpenMP that has nothing
    to do spins some 300,000 times before it sleeps. That is the fastest way to wait on an idle machine. On
    a busy one, spinning threads take the cores from those that they wait for.

    Returns:
        True if waits are shorter now; False if nothing else runs, or the environment says how threads wait.
    """
    if {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & environment.keys():
        return False
    threads = environment.get("OMP_NUM_THREADS", "")
    needed = int(threads) if threads.isdigit() else usable_cores()
    free = (os.cpu_count() or 1) - needed
    crowded = needed > 1 and all(others > free for others in _others_running(load))
    if crowded:
        environment["GOMP_SPINCOUNT"] = "1000"
    return crowded


def _others_running(load: Path) -> Iterator[int]:
    """Look a few times, 20 ms apart, how many threads of other processes run or wait for a core."""
    for look in range(5):
        if look:
            time.sleep(0.02)
        running = re.search(r"(\d+)/", _read(load))
        yield int(running.group(1)) - 1 if running else 0  # one of them is this one


def usable_cores(cpus: Path = CPUS, cgroups: Path = CGROUPS) -> int:
    """Return how many cores this process may use: those of its affinity, within its control group's quota."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    physical = {_siblings(cpus, cpu) for cpu in allowed}
    cores = len(physical) or os.cpu_count() or 1
    quota = _quota(cgroups)
    return cores if quota is None else max(1, min(cores, math.floor(quota)))


def _siblings(cpus: Path, cpu: int) -> str:
    """Return a name for the core that a CPU is a hyperthread of."""
    text = _read(cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list")
    return text or str(cpu)


def _quota(cgroups: Path) -> float | None:
    """Return how many CPUs the control group allows; None for no limit."""
    values = _read(cgroups / "cpu.max").split()  # version 2: "QUOTA PERIOD", the first perhaps "max"
    if not values:
        values = [_read(cgroups / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    quota, period = [*values, "", ""][:2]
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


_LEVELS = 2**16


@contextmanager
def fast_dropout() -> Iterator[None]:
    """Replace ``torch.nn.functional.dropout`` (and so ``nn.Dropout``) with ``dropout`` within the block.

    On a CPU a small transformer spends half of its time outside matrix products in the Bernoulli generator,
    which draws one value at a time. The function itself is replaced, since torch's function modes do not
    apply in ``backward``, where losses with a gradient cache embed again and must drop the same values.
    """
    from torch.nn import functional

    own = functional.dropout
    functional.dropout = dropout
    try:
        yield
    finally:
        functional.dropout = own


def dropout(
    input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    """Zero each value with probability ``p`` and divide the others by ``1 - p`` (Srivastava et al. 2014).

    The arguments are those of ``torch.nn.functional.dropout``. ``p`` is rounded to a multiple of 2⁻¹⁶; the
    kept values are divided by the rounded probability, so that the expectation is exact.

    Args:
        input: Values of a floating type, of any shape.
        p: The probability.
        training: Whether to drop anything.
        inplace: Whether to change ``input`` itself.

    Returns:
        Values of the same shape and type.

    Raises:
        ValueError: ``p`` is no probability.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    dropped = round(p * _LEVELS)
    if not training or not dropped:
        return input
    factors = _factors(input, dropped)
    return input.mul_(factors) if inplace else input * factors


def _factors(like: torch.Tensor, dropped: int) -> torch.Tensor:
    """Return the factor of each value: 0 if it is dropped, else what keeps the expectation."""
    import torch

    if dropped == _LEVELS:
        return torch.zeros_like(like)
    count = like.numel()
    words = torch.empty(math.ceil(count / 4), dtype=torch.int64, device=like.device)
    numbers = words.random_(torch.iinfo(torch.int64).min, None).view(torch.int16)[:count].view(like.shape)
    # Written as numbers of the right type at once: boolean masks are five times as slow to apply.
    factors = torch.empty(like.shape, dtype=like.dtype, device=like.device)
    torch.ge(numbers, dropped - _LEVELS // 2, out=factors)
    return factors.mul_(_LEVELS / (_LEVELS - dropped))
