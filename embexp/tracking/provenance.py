"""Where a result comes from: the code's commit, the versions and the machine, as tags of a run."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

log = logging.getLogger(__name__)


SECONDS = 10.0
PACKAGES = ("embexp", "sentence-transformers", "transformers", "torch")


def git_commit(folder: Path) -> str | None:
    """Return the commit that ``folder`` stands at, with ``-dirty`` where tracked files have changed.

    Returns:
        None where git is missing, or the folder is no tracked part of a repository.
    """
    commit = _output("git", "-C", str(folder), "rev-parse", "HEAD")
    if not commit or not _output("git", "-C", str(folder), "ls-files", "."):
        return None
    changed = _output("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changed else commit


def gpu() -> str:
    """Return the names of the NVIDIA GPUs, or an empty text; torch is not loaded for this."""
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return ", ".join(name.strip() for name in (names or "").splitlines())


def provenance(folder: Path | None = None) -> dict[str, str]:
    """Return commit, versions and machine as tags; what cannot be found out is left out.

    Args:
        folder: Whose commit counts; None is this package's own folder.
    """
    found = {
        "git_commit": git_commit(folder or Path(__file__).parent) or "",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": str(_cpus()),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "gpu": gpu(),
    }
    for package in PACKAGES:
        found[package.replace("-", "_")] = _version(package)
    return {key: value for key, value in found.items() if value}


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _output(*command: str) -> str | None:
    """Return what a command prints, or None where it is missing, fails or hangs."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        log.debug("%s: %s", " ".join(command), error)
        return None
    return done.stdout.strip()
