"""The mteb library, imported when it is needed: tasks by name or class, and its errors as sentences."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from embexp.errors import ConfigError, DataError


def library(option: str) -> Any:
    """Return the mteb module; ``option`` is what needs it.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module("mteb")
    except ImportError as error:
        remedy = 'pip install "embexp[mteb]"'
        raise ConfigError(f"{option} needs the mteb library ({error}): {remedy}.") from error


def find_task(name: str, *, key: str, option: str) -> Any:
    """Return the task of that name, or of the class at that import path; its data are not loaded yet.

    Args:
        name: As MTEB lists it ("SciFact"), or ``package.module.Class``.
        key: The configuration's key that names it, for messages.
        option: What needs the library, for messages.

    Raises:
        ConfigError: There is no such task, or mteb is not installed.
    """
    mteb = library(option)
    if "." in name:
        return _own_class(mteb, name, key)
    try:
        return mteb.get_task(name)
    except KeyError as error:
        said = str(error.args[0]).removeprefix("KeyError: ").rstrip(".") if error.args else name
        raise ConfigError(
            f"{key}={name}: {said}. A task of your own is named by its class, as in my_tasks.MyTask."
        ) from error


def _own_class(mteb: Any, path: str, key: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        task = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{key}={path} is neither a folder nor a class that can be imported ({error}): name a "
            "subclass of one of mteb's tasks as package.module.Class."
        ) from error
    if not isinstance(task, mteb.AbsTask):
        raise ConfigError(f"{key}={path} is no task of mteb: name a subclass of one of its tasks.")
    return task


@contextmanager
def data_errors(name: str, remedy: str) -> Iterator[None]:
    """Turn what reading a task's data raises into a sentence with the remedy.

    Raises:
        DataError: The data cannot be had.
    """
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"The data of the MTEB task {name} cannot be had ({type(error).__name__}: {reason}): {remedy}"
        ) from error
