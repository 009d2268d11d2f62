"""Start commands in forks of a process that has loaded their libraries: in milliseconds instead of seconds.

A fork becomes what ``python -m MODULE ARGUMENT …`` starts: a session of its own, its output in a file, the
module run as ``__main__``, and the interpreter's own end. What it shares with its server are loaded modules.
Several servers take turns, since the order of sets differs between interpreters.

The file is run as a script, too: as the server, which takes commands as lines of JSON.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux."""
_FORK_SAFE = ("jemalloc_bg_thd",)
"""Threads that start anew in a fork: that of the memory allocator of pyarrow."""


class Forked:
    """A command that runs in a fork; as much of ``subprocess.Popen`` as killing it takes."""

    def __init__(self, server: subprocess.Popen[str], pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.computed = 0.0
        """The seconds that the command has computed in all, once it has ended."""
        self._server = server

    def wait(self, seconds: float | None = None) -> int:
        """Return the exit code; a signal's is negative.

        Raises:
            TimeoutExpired: The command still runs after so many seconds.
        """
        if self.returncode is None:
            assert self._server.stdout is not None
            if not select.select([self._server.stdout], [], [], seconds)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), seconds or 0.0)
            code, computed = self._server.stdout.readline().split()
            self.returncode, self.computed = int(code), float(computed)
        return self.returncode

    def kill(self) -> None:
        """Kill the command's whole process group, if it has not ended meanwhile."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def cpu_seconds(self) -> float:
        """Return the seconds that the command has computed so far."""
        try:
            used = psutil.Process(self.pid).cpu_times()
        except psutil.NoSuchProcess:
            self.wait()
            return self.computed
        return float(used.user + used.system)


class ForkServers:
    """Processes that have loaded some modules, and start commands in forks of themselves.

    Args:
        modules: What they load. The commands' own modules may not be among them.
        variables: Environment variables of all commands.
        number: How many processes take turns.
    """

    def __init__(self, modules: Sequence[str], variables: Mapping[str, str], *, number: int = 2) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), *modules]
        environment = {**os.environ, **variables}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._servers = [
            subprocess.Popen(command, **pipes, text=True, bufsize=1, env=environment) for _ in range(number)
        ]
        self._started = 0

    def start(self, command: Sequence[str], folder: Path, log: Path) -> Forked:
        """Start ``python -m COMMAND`` in a folder; its output is added to ``log``."""
        server = self._servers[self._started % len(self._servers)]
        self._started += 1
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps([list(command), str(folder), str(log)]) + "\n")
        if not (line := server.stdout.readline()):
            raise RuntimeError(f"The server of {' '.join(command)} ended; its reason is above.")
        return Forked(server, int(line))

    def close(self) -> None:
        """End the servers."""
        for server in self._servers:
            server.kill()
            server.communicate()

    def __enter__(self) -> ForkServers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(requests: Any, replies: Any) -> list[str] | None:
    """Fork for each request; return twice: the command in each fork, None in the server at its end."""
    for line in requests:
        command, folder, log = json.loads(line)
        ready, begun = os.pipe()
        if (pid := os.fork()) == 0:
            _become(Path(folder), Path(log))
            os.close(ready)
            os.close(begun)  # only now the process group is there to be killed
            return list(command)
        os.close(begun)
        os.read(ready, 1)
        os.close(ready)
        replies.write(f"{pid}\n")
        replies.flush()
        _, status, used = os.wait4(pid, 0)
        replies.write(f"{os.waitstatus_to_exitcode(status)} {used.ru_utime + used.ru_stime}\n")
        replies.flush()
    return None


def _become(folder: Path, log: Path) -> None:
    """Give a fork what a process of its own has."""
    os.setsid()
    _die_with_parent()
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
        os.dup2(source, descriptor)
    sys.path[0] = str(folder)  # as python -m does
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()


def _die_with_parent() -> None:
    """Have Linux end this process with the one that started it, so that no command outlives its benchmark."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def load(modules: Sequence[str]) -> None:
    """Load modules into this process, which is to be forked.

    Raises:
        RuntimeError: One of them has started a thread, which a fork would lose.
    """
    for name in modules:
        importlib.import_module(name)
    if lost := [name for name in _threads() if name not in _FORK_SAFE]:
        raise RuntimeError(f"Libraries have started threads, which a fork would lose: {', '.join(lost)}.")
    gc.collect()
    gc.freeze()


def _threads() -> list[str]:
    """Return the names of this process's threads, except that of the main one."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return [thread.name for thread in threading.enumerate()[1:]]
    return [(task / "comm").read_text().strip() for task in tasks.iterdir() if task.name != str(os.getpid())]


def main() -> None:
    """Serve, and run a command where this process has become a fork."""
    _die_with_parent()
    load(sys.argv[1:])
    command = _serve(sys.stdin, sys.stdout)
    if command is not None:
        sys.argv = command
        runpy.run_module(command[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
