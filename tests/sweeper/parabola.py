"""A task that costs nothing, for tests of the sweeper itself: ``python parabola.py -m x='interval(0,9)'``."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore

from embexp.errors import EmbexpError, PrunedError


@dataclass
class Parabola:
    x: float = 5.0
    y: int = 1
    name: str = "a"
    seconds: float = 0.0
    diary: str = "diary.txt"


ConfigStore.instance().store(name="parabola", node=Parabola)


def finished(config):
    diary = Path(config.diary)
    return len(diary.read_text().splitlines()) if diary.exists() else 0


@hydra.main(config_path=str(Path(__file__).parent), config_name="parabola", version_base="1.3")
def main(config):
    time.sleep(config.seconds)
    if Path("pause").exists() and finished(config) >= int(Path("pause").read_text() or 0):
        Path("paused").touch()  # a test has asked for a trial that hangs, after so many others
        while True:
            time.sleep(60)
    if Path("meet").exists():  # a test has asked for trials of two sweepers at the same time
        Path("meet", str(os.getpid())).touch()
        while len(list(Path("meet").iterdir())) < 2:
            time.sleep(0.02)
    with Path(config.diary).open("a") as diary:
        diary.write(f"{os.getpid()} {config.x} {config.y} {config.name}\n")
    if config.name == "wrong":
        raise EmbexpError("this one cannot work")
    if config.name == "at_5" and config.x != 5:
        raise EmbexpError("only 5 can work")
    if config.name == "crash_at_5" and config.x == 5:
        os.kill(os.getpid(), signal.SIGSEGV)
    if config.name == "unlucky":
        raise ValueError("this one might work another time")
    if config.name == "pruned":
        raise PrunedError("not worth it")
    if config.name == "two":
        return (config.x - 3) ** 2, config.x
    if config.name == "nan":
        return float("nan")
    return (config.x - 3) ** 2 + config.y


if __name__ == "__main__":
    main()
