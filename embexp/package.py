"""What is installed: the version of embexp, and the folder of its option files."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"


def conf_dir() -> Path:
    """Return the folder of option files: inside an installed package, or beside it in the repository."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"
