"""What is installed: the version of embexp, and the folder of its option files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

__version__ = "0.1.0"


def conf_dir() -> Path:
    """Return the folder of option files: inside an installed package, or beside it in the repository."""
    package = Path(__file__).resolve().parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def lazy_exports(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Return a package's ``__getattr__``, which imports a public name at its first use (PEP 562).

    A package whose names come from many modules then costs a command that uses one of them no start-up time.

    Args:
        package: The package's ``__name__``.
        modules: Module below the package -> the public names in it, separated by spaces.
    """
    home = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home[name]}"), name)

    return get
