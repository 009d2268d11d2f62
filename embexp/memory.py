"""How much memory a process may still take, and a word before a step that is going to need more."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.errors import EmbexpError
from embexp.storage.files import causes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

log = logging.getLogger(__name__)

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
_GIB = 2**30
_SHARE = 0.8
"""How much of the available memory a single array may take; the rest is for what is computed with it."""

LIBRARIES = 3 * _GIB
"""The address space that a run with a small model takes, most of it for libraries."""
_TEXTS = ("cannot allocate memory", "can't allocate memory", "not enough memory", "failed to map segment")
"""What libraries say that hide the system's error in a text: torch, the loader of shared objects."""


class MemoryShortError(EmbexpError):
    """A step needs more memory than this process may take."""


def available_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """Return how many bytes this process may still take; None where the system does not say.

    That is the least of what is free on the machine, in the control groups that the process is in, and below
    its own limits (``ulimit -v`` and ``ulimit -d``).
    """
    room = [
        _line(proc / "meminfo", "MemAvailable:", 1024),
        *(_room_in_group(group) for group in _groups(proc, cgroups)),
        address_space_left(proc),
    ]
    known = [each for each in room if each is not None]
    return max(min(known), 0) if known else None


def address_space_left(proc: Path = PROC) -> int | None:
    """Return how many bytes ``ulimit -v`` and ``ulimit -d`` leave; None where neither is set."""
    if sys.platform != "linux":
        return None
    import resource

    left = []
    for limit, used in ((resource.RLIMIT_AS, "VmSize:"), (resource.RLIMIT_DATA, "VmData:")):
        most = resource.getrlimit(limit)[0]
        taken = _line(proc / "self" / "status", used, 1024)
        if most != resource.RLIM_INFINITY and taken is not None:
            left.append(most - taken)
    return min(left, default=None)


def memory_problem(error: BaseException) -> EmbexpError | None:
    """Return a sentence for an error that want of memory causes; None for every other error."""
    for cause in causes(error):
        if isinstance(cause, EmbexpError):
            return None
        if not (isinstance(cause, MemoryError) or any(text in str(cause).lower() for text in _TEXTS)):
            continue
        left = address_space_left()
        limit = "" if left is None else " below the limit on its address space (ulimit -v)"
        available = left if left is not None else available_memory()
        room = (
            "" if available is None else f"; {available / _GIB:,.2g} GiB is available to this process{limit}"
        )
        return MemoryShortError(
            f"Memory ran out ({' '.join(str(cause).split())[:160] or type(cause).__name__}){room}: give it "
            "more, or take less at once (dataset.limit=…, trainer.batch_size=…). Finished stages are kept."
        )
    return None


def warn_of_address_space() -> None:
    """Log a warning if ``ulimit -v`` leaves less address space than the libraries of a run need."""
    left = address_space_left()
    if left is not None and left < LIBRARIES:
        remedy = "it may end in an error of memory; set ulimit -v higher, or limit memory by a control group"
        log.warning(
            "%s", shortage(LIBRARIES, left, "A run with torch and Chroma", remedy, kind="address space")
        )


def warn_of_memory(needed: float, what: str, remedy: str) -> None:
    """Log a warning if a step is going to need more memory than there is: the system may end the process.

    Args:
        needed: An estimate in bytes, beside what the process has taken.
        what: The step, as the start of a sentence ("The index of 1,000 passages in Chroma").
        remedy: What to do, after "needs about 3 GB and 1 GB is available: ".
    """
    available = available_memory()
    if available is not None and needed > available:
        log.warning("%s", shortage(needed, available, what, remedy))


def shortage(needed: float, available: float, what: str, remedy: str, *, kind: str = "memory") -> str:
    """Return the sentence that says what a step needs, what there is, and the remedy."""
    return (
        f"{what} needs about {needed / _GIB:,.2g} GiB of {kind}, and {available / _GIB:,.2g} GiB is "
        f"available to this process: {remedy}."
    )


def new_matrix(rows: int, columns: int, folder: Path, *, what: str) -> npt.NDArray[np.float32]:
    """Return a float32 matrix to be filled; it is a file where it would take most of the available memory.

    The system writes the file's pages to disk when memory runs short, which is slower.

    Args:
        rows: Its rows.
        columns: Its columns.
        folder: Where the file is, or the next folder above it that exists. It has no name, and is gone when
            the matrix is.
        what: What the matrix holds, for the log.

    Raises:
        MemoryShortError: A limit on the address space (``ulimit -v``) leaves no room for a file either.
    """
    import numpy as np

    needed, available = rows * columns * 4, available_memory()
    if available is None or needed <= _SHARE * available:
        return np.empty((rows, columns), dtype=np.float32)
    left = address_space_left()
    if left is not None and needed > left:
        remedy = "raise the limit (ulimit -v), or take fewer documents (dataset.limit=…)"
        raise MemoryShortError(shortage(needed, left, what, remedy))
    place = next(each for each in (folder, *folder.parents) if each.is_dir())
    log.warning("%s", shortage(needed, available, what, f"it is kept in a file in {place}, which is slower"))
    with tempfile.TemporaryFile(dir=place) as stream:
        return np.memmap(stream, dtype=np.float32, mode="w+", shape=(rows, columns))


def _groups(proc: Path, cgroups: Path) -> Iterable[tuple[Path, bool]]:
    """Yield the control groups of this process and those above them, each with whether it is of version 2."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers not in ("", "memory") and "memory" not in controllers.split(","):
            continue
        root = cgroups / "memory" if controllers else cgroups
        # A container may see its own group as the root, under a name that it cannot find.
        for group in (root / name.strip("/"), *(root / name.strip("/")).parents):
            if group.is_relative_to(root):
                yield group, not controllers


def _room_in_group(group: tuple[Path, bool]) -> int | None:
    """Return how much a control group's processes may still take: what they have read from files can go."""
    folder, second = group
    names = ("memory.max", "memory.current") if second else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    try:
        most, used = ((folder / name).read_text(encoding="ascii").strip() for name in names)
    except OSError:
        return None
    if not most.isdigit():  # "max"
        return None
    files = _line(folder / "memory.stat", "inactive_file" if second else "total_inactive_file", 1)
    return int(most) - int(used) + (files or 0)


def _line(file: Path, name: str, unit: int) -> int | None:
    """Return the number of the line that begins with ``name``, times ``unit``; None without such a line."""
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == name:
                return int(words[1]) * unit
    except OSError:
        return None
    return None
