"""``python -m embexp.run`` with a trial that hangs in its training: the one that the file ``pause`` names."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from embexp import run
from embexp.sweeper.study import REPEATS
from embexp.sweeper.trial import LiveTrial

watch = LiveTrial.watch


def watch_and_pause(self: LiveTrial, step: Any, **settings: Any) -> None:
    watch(self, step, **settings)
    slot = self._trial.user_attrs.get(REPEATS, self._slot.number)
    if step.step > 0 and Path("pause").exists() and int(Path("pause").read_text()) == slot:
        Path("paused").touch()
        while True:
            time.sleep(60)


if __name__ == "__main__":
    LiveTrial.watch = watch_and_pause  # type: ignore[method-assign]
    run.main()
