"""Trains a tiny model in child processes that are killed while they write, and once more until they end.

A write is any moment in which a file reaches the disk, is cut off half-way, or is removed: of checkpoints, of
the best weights, of the selected weights. Prints one JSON line: the digest of an uninterrupted run's weights,
how many writes it made, and for each kill the digest after it and which files lay there.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # started as a script

from tests.finetuning.killed_training import attempt, train


class Killer:
    """Counts writes, and ends this process at one of them."""

    def __init__(self, moment: int | None) -> None:
        self.moment, self.writes = moment, 0

    def strike(self) -> None:
        self.writes += 1
        if self.writes == self.moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        import torch

        fsync, rmtree, save, unlink = os.fsync, shutil.rmtree, torch.save, Path.unlink

        def torn_save(value: Any, path: Any, *rest: Any, **options: Any) -> None:
            save(value, path, *rest, **options)
            if self.writes + 1 == self.moment and isinstance(path, (str, Path)):
                os.truncate(path, Path(path).stat().st_size // 2)
            self.strike()

        def before(action: Any) -> Any:
            def struck(*arguments: Any, **options: Any) -> Any:
                self.strike()
                return action(*arguments, **options)

            return struck

        os.fsync, shutil.rmtree, Path.unlink = before(fsync), before(rmtree), before(unlink)
        torch.save = torn_save


def train_until(folder: Path, moment: int | None) -> None:
    killer = Killer(moment)
    killer.install()
    # A checkpoint after each step: then every run makes the same writes.
    train(folder, epochs=1, checkpoint_seconds=1e-6)
    (folder / "writes.json").write_text(json.dumps(killer.writes))


def main() -> None:
    import sentence_transformers  # noqa: F401  (imported once, for all children)

    import embexp.finetuning.training_loop  # noqa: F401

    folder, draw, kills = Path(sys.argv[1]), random.Random(int(sys.argv[2])), int(sys.argv[4])
    attempt(folder / "whole", lambda where: train_until(where, None))
    writes = json.loads((folder / "whole" / "writes.json").read_text())
    # The last tenth writes the selected weights: at least one kill falls there.
    chosen = [*draw.sample(range(1, writes), kills - 1), draw.randrange(writes - writes // 10, writes)]
    found = []
    for moment in chosen:
        where = folder / str(moment)
        attempt(where, lambda where, moment=moment: train_until(where, moment))
        left = sorted(str(path.relative_to(where)) for path in where.rglob("*") if path.is_file())
        attempt(where, lambda where: train_until(where, None))
        after = json.loads((where / "result.json").read_text())
        found.append({"moment": moment, "digest": after["digest"], "dev": after["dev"], "left": left})
    whole = json.loads((folder / "whole" / "result.json").read_text())
    print(json.dumps({"whole": whole, "writes": writes, "kills": found}))


if __name__ == "__main__":
    main()
