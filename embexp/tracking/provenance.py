"""The origin of a result: the code's commit, the versions and the machine, as tags of a run."""

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
    """Return the commit of ``folder``, with ``-dirty`` if tracked files have changed.

    Returns:
        None if git is missing, or git does not track the folder.
    """
    commit = _output("git", "-C", str(folder), "rev-parse", "HEAD")
    if not commit or not _output("git", "-C", str(folder), "ls-files", "."):
        return None
    changed = _output("git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changed else commit


def _gpu() -> str:
    """Return the names of the NVIDIA GPUs, or an empty text, without loading torch."""
    names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return ", ".join(name.strip() for name in (names or "").splitlines())


def provenance(folder: Path | None = None) -> dict[str, str]:
    """Return commit, versions and machine as tags; what is unknown is left out.

    Args:
        folder: The folder whose commit to name; None is this package's own.
    """
    tags = {
        "git_commit": git_commit(folder or Path(__file__).parent) or "",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": str(_cpus()),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "gpu": _gpu(),
    }
    for package in PACKAGES:
        tags[package.replace("-", "_")] = _version(package)
    return {key: value for key, value in tags.items() if value}


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
    """Return a command's output, or None if it is missing, fails or hangs."""
    if shutil.which(command[0]) is None:
        return None
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError) as error:
        log.debug("%s: %s", " ".join(command), error)
        return None
    return result.stdout.strip()
