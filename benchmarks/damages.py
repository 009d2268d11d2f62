"""Damage the cache at random places, and count how many damages are noticed and repaired.

A small run is repeated from its cache, in which one file was changed before. Each run must end with the
scores of the undamaged one; those that say what was damaged count as noticed.

    python benchmarks/damages.py --trials 100
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PLACES = {
    "chunks": "chunks/*/chunks.jsonl",
    "documents": "chunks/*/documents.jsonl",
    "pairs": "pairs/*/pairs.jsonl",
    "training pairs": "splits/*/train.jsonl",
    "dev pairs": "splits/*/dev.jsonl",
    "test pairs": "splits/*/test.jsonl",
    "model": "finetune/*/model/**/*",
    "training's result": "finetune/*/done.json",
    "index": "benchmark/*/index/**/*",
    "scores": "benchmark/*/scores.parquet",
    "rankings": "benchmark/*/results.json",
    "retriever": "retriever/*/done.json",
    "vectors": "embeddings/*/vectors.f32",
    "keys": "embeddings/*/keys.bin",
    "dimension": "embeddings/*/meta.json",
}
"""What may be damaged in the cache of a finished run, as globs below it."""
CHECKPOINT_PLACES = {
    "checkpoint": "finetune/*/work/checkpoint-*/*",
    "best weights": "finetune/*/work/best/*",
    "untuned weights": "finetune/*/work/start.safetensors",
    "settings of the training": "finetune/*/work/run.json",
}
"""What may be damaged in the cache of a run whose training was interrupted."""
SAYS = ("damaged", "were changed", "cannot be read", "is incomplete", "other settings or data")

Run = Callable[[Sequence[str]], tuple[int, str]]
"""Runs ``python -m embexp.run`` with these arguments; returns the exit code and what it wrote to stderr."""


@dataclass(frozen=True)
class Trial:
    """A damage and how the run after it ended.

    ``same`` says whether its scores are those of the undamaged run, ``noticed`` whether it named the damage.
    """

    place: str
    file: str
    how: str
    code: int
    same: bool
    noticed: bool


def damage(path: Path, draw: random.Random) -> str:
    """Change a file as disks, copies and editors do, and return what was done."""
    content = bytearray(path.read_bytes())
    place = draw.randrange(len(content))
    how = draw.choice(("flip a bit", "flip a bit", "overwrite", "cut off the end", "delete"))
    match how:
        case "flip a bit":
            content[place] ^= 1 << draw.randrange(8)
        case "overwrite":
            stretch = content[place : place + 64]
            content[place : place + 64] = bytes(byte ^ 0xA5 for byte in stretch)
        case "cut off the end":
            del content[place:]
        case "delete":
            path.unlink()
            return how
    path.write_bytes(content)
    return f"{how} at byte {place:,}"


def damage_one(cache: Path, pattern: str, draw: random.Random) -> tuple[Path, str]:
    """Damage one file of a cache that a glob names, and return it with what was done."""
    files = [path for path in sorted(cache.glob(pattern)) if path.is_file() and path.stat().st_size]
    path = draw.choice([path for path in files if path.name != ".lock"])
    return path.relative_to(cache), damage(path, draw)


def scores_of(run_dir: Path) -> Any:
    """Return everything that a run measured."""
    outcome = json.loads((run_dir / "outcome.json").read_text(encoding="utf-8"))
    return [outcome[name] for name in ("counts", "scores", "comparison", "leaks")]


def try_damages(
    run: Run, cache: Path, folder: Path, expected: Any, *, places: Mapping[str, str], trials: int, seed: int
) -> Iterator[Trial]:
    """Damage a copy of ``cache`` and run with it, as often as asked.

    Args:
        run: Runs the command that left the cache.
        cache: The undamaged cache.
        folder: Where copies and runs are put.
        expected: What ``scores_of`` the undamaged run returns.
        places: Name -> glob of the files that are damaged in turn.
        trials: How many damages to try.
        seed: Draws files, places and kinds of damage.
    """
    draw = random.Random(seed)
    for number in range(trials):
        name = list(places)[number % len(places)]
        copy, run_dir = folder / "cache", folder / "X"
        for old in (copy, run_dir):
            shutil.rmtree(old, ignore_errors=True)
        shutil.copytree(cache, copy)
        file, how = damage_one(copy, places[name], draw)
        code, text = run([f"paths.cache={copy}", f"hydra.run.dir={run_dir}"])
        same = code == 0 and scores_of(run_dir) == expected
        yield Trial(name, str(file), how, code, same, any(words in text for words in SAYS))


def tally(trials: Sequence[Trial]) -> dict[str, int]:
    """Return how many damages were tried, noticed and repaired, and how many were not."""
    return {
        "tried": len(trials),
        "noticed": sum(trial.noticed for trial in trials),
        "repaired": sum(trial.same for trial in trials),
        "ended": sum(trial.code != 0 for trial in trials),
        "wrong": sum(trial.code == 0 and not trial.same for trial in trials),
    }


def forked_run(arguments: Sequence[str], folder: Path, *, interrupt: bool = False) -> tuple[int, str]:
    """Run ``embexp.run`` in a fork of this process, which has the libraries loaded already.

    Args:
        arguments: Of the command.
        folder: Where it is started.
        interrupt: Whether to stop it when the training has ended and its weights are not selected yet.
    """
    log = folder / "log"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _run(arguments, folder, log, interrupt=interrupt)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, log.read_text(encoding="utf-8", errors="replace")


def _run(arguments: Sequence[str], folder: Path, log: Path, *, interrupt: bool) -> int:
    import embexp.finetuning.trainer
    import embexp.run

    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if interrupt:

        def stop(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        embexp.finetuning.trainer.select_weights = stop  # type: ignore[assignment]
    sys.argv = ["embexp.run", *arguments]
    try:
        embexp.run.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def survive_damages(folder: Path, *, trials: int, seed: int = 0) -> Iterator[Trial]:
    """Make a small run, damage its cache again and again, and yield each trial as it ends.

    A quarter of the damages hits the checkpoints of an interrupted training.

    Args:
        folder: An empty folder for everything that is written.
        trials: How many damages to try.
        seed: Draws files, places and kinds of damage.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings = ["experiment=tiny", "dataset.limit=60", "trainer.evaluations=3", "tracker=none"]

    def run(arguments: Sequence[str], *, interrupt: bool = False) -> tuple[int, str]:
        return forked_run([*settings, *arguments], folder, interrupt=interrupt)

    whole, torn = folder / "whole", folder / "torn"
    code, text = run([f"paths.cache={whole}", f"hydra.run.dir={folder / 'reference'}"])
    if code:
        raise RuntimeError(f"The undamaged run fails: {text}")
    run([f"paths.cache={torn}", f"hydra.run.dir={folder / 'torn-run'}"], interrupt=True)
    expected, of_torn = scores_of(folder / "reference"), trials // 4
    yield from try_damages(run, whole, folder, expected, places=PLACES, trials=trials - of_torn, seed=seed)
    yield from try_damages(run, torn, folder, expected, places=CHECKPOINT_PLACES, trials=of_torn, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory() as folder:
        for trial in survive_damages(Path(folder), trials=options.trials, seed=options.seed):
            print(json.dumps(asdict(trial)), flush=True)
            trials.append(trial)
    counts = tally(trials)
    ratio = counts["repaired"] / counts["tried"]
    line = {"benchmark": "damages", "ours": counts["repaired"], "peer": counts["tried"], "ratio": ratio}
    print(json.dumps({**line, "unit": "damages repaired", **counts, "machine": platform.processor()}))


if __name__ == "__main__":
    main()
