"""Damage the cache at random places, and count how many damages are noticed and repaired.

A small run is repeated from its cache, in which one file was changed before. Each run must end with the
scores of the undamaged one; those that say what was damaged count as noticed.

    python benchmarks/damages.py                                    # a few, in a minute or two
    python benchmarks/damages.py --trials 100 --folder damages      # the same command resumes it
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script

from benchmarks.fork_server import ForkServers
from benchmarks.small_documents import LIBRARIES, SMALL, VARIABLES, write_documents

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
INTERRUPTED, INTERRUPTED_CODE = "--interrupted", 2
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
    run: Run,
    cache: Path,
    folder: Path,
    expected: Any,
    *,
    places: Mapping[str, str],
    numbers: range,
    seed: int,
) -> Iterator[Trial]:
    """Damage a copy of ``cache`` and run with it, as often as asked.

    Args:
        run: Runs the command that left the cache.
        cache: The undamaged cache.
        folder: Where copies and runs are put.
        expected: What ``scores_of`` the undamaged run returns.
        places: Name -> glob of the files that are damaged in turn.
        numbers: Which damages to try; the same number is always the same damage.
        seed: Draws files, places and kinds of damage.
    """
    for number in numbers:
        draw = random.Random(f"{seed} {number}")
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


def forked_run(servers: ForkServers, command: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a command in a folder, and return its exit code and what it wrote."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    code = servers.start([*command], folder, log).wait()
    return code, log.read_text(encoding="utf-8", errors="replace")


def interrupted_run(arguments: Sequence[str]) -> None:
    """Run ``embexp.run``, interrupted when the training has ended and its weights are not selected yet."""
    import embexp.finetuning.trainer
    import embexp.run

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    embexp.finetuning.trainer.select_weights = stop  # type: ignore[assignment]
    sys.argv = ["embexp.run", *arguments]
    embexp.run.main()


def survive_damages(
    folder: Path, servers: ForkServers, *, trials: int, seed: int = 0, done: int = 0
) -> Iterator[Trial]:
    """Make a small run, damage its cache again and again, and yield each trial as it ends.

    A quarter of the damages hits the checkpoints of an interrupted training.

    Args:
        folder: A folder for everything that is written; what an earlier call has made is used again.
        servers: Start the runs.
        trials: How many damages to try.
        seed: Draws files, places and kinds of damage.
        done: How many of them to leave out.
    """

    def run(arguments: Sequence[str], *, command: Sequence[str] = ("embexp.run",)) -> tuple[int, str]:
        return forked_run(servers, [*command, *SMALL, *arguments], folder)

    whole, torn, reference = folder / "whole", folder / "torn", folder / "reference.json"
    if not reference.exists():
        for old in ("documents", "whole", "torn", "reference", "torn-run"):
            shutil.rmtree(folder / old, ignore_errors=True)
        write_documents(folder / "documents")
        code, text = run([f"paths.cache={whole}", f"hydra.run.dir={folder / 'reference'}"])
        if code:
            raise RuntimeError(f"The undamaged run fails: {text}")
        code, text = run(
            [f"paths.cache={torn}", f"hydra.run.dir={folder / 'torn-run'}"],
            command=("benchmarks.damages", INTERRUPTED),
        )
        if code != INTERRUPTED_CODE:
            raise RuntimeError(f"The run that is interrupted ends with {code}: {text}")
        reference.write_text(json.dumps(scores_of(folder / "reference")))
    expected, of_whole = json.loads(reference.read_text()), trials - trials // 4
    numbers = range(trials)
    for cache, places, part in (
        (whole, PLACES, numbers[:of_whole]),
        (torn, CHECKPOINT_PLACES, numbers[of_whole:]),
    ):
        left = part[max(done - part.start, 0) :]
        yield from try_damages(run, cache, folder, expected, places=places, numbers=left, seed=seed)


def recorded_damages(folder: Path, servers: ForkServers, *, trials: int, seed: int = 0) -> list[Trial]:
    """Try damages until ``damages.jsonl`` in a folder has so many; return all of them."""
    record = folder / "damages.jsonl"
    lines = record.read_text().splitlines(keepends=True) if record.exists() else []
    done = [Trial(**json.loads(line)) for line in lines if line.endswith("\n")]
    for trial in survive_damages(folder, servers, trials=trials, seed=seed, done=len(done)):
        done.append(trial)
        print(json.dumps(asdict(trial)), flush=True)
        record.write_text("".join(json.dumps(asdict(each)) + "\n" for each in done))
    return done


def main() -> None:
    if sys.argv[1:2] == [INTERRUPTED]:
        interrupted_run(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where all of it is kept, so that it can be resumed")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ForkServers(LIBRARIES, VARIABLES) as servers:
        folder = (options.folder or Path(name)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        counts = tally(recorded_damages(folder, servers, trials=options.trials, seed=options.seed))
    from benchmarks.retrieval_sets import machine

    ratio = counts["repaired"] / counts["tried"]
    line = {"benchmark": "damages", "ours": counts["repaired"], "peer": counts["tried"], "ratio": ratio}
    print(json.dumps({**line, "unit": "damages repaired", **counts, "machine": machine()}))


if __name__ == "__main__":
    main()
