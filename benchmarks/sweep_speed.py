"""How long a trial of a sweep takes, compared with the same trials as separate commands.

    python benchmarks/sweep_speed.py                                  # a random model, a few minutes
    python benchmarks/sweep_speed.py --model minilm --against run --commands 3    # about a quarter of an hour
    python benchmarks/sweep_speed.py --model minilm --against run --pruned        # the same, all commands

A sweep of ten trials runs first: with --pruned as a user starts it, so that hopeless trials are stopped
early; else without pruning, so that every training is complete and only the work around it differs. The same
settings run as commands, one after the other in a fresh folder: they share chunks and pairs through the cache
as the trials do, but each has its own start-up and imports. Both times are divided by the number of trials;
the sweep's report is included, the winner's own run is not.

--against finetune (the default) compares with trainings alone, and --against run with whole runs, which also
score the test questions: what one would do without a sweep. --commands runs only some of the settings as
commands: the first, which fills the cache, and others spread evenly. Each of the rest counts as its trial's
own seconds and what the commands took beyond their trials' on average.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

SETTINGS = {
    "tiny": ["experiment=tiny"],
    "minilm": [
        "experiment=quickstart",
        "dataset.limit=600",
        "synthesis.target=600",
        "split.max_test=100",
        "split.max_dev=100",
        "trainer=fast",
        "trainer.max_pairs=320",
    ],
}
SPACE = {"tiny": "tiny", "minilm": "mnrl"}


def run(folder: Path, command: str, *arguments: str) -> float:
    """Run ``python -m embexp.COMMAND`` and return its seconds."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"embexp.{command}", *arguments, "tracker=none"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return time.monotonic() - start


def chosen(trials: int, commands: int | None) -> list[int]:
    """Return the numbers of the trials that run as commands: the first, and others spread evenly."""
    if commands is None or commands >= trials:
        return list(range(trials))
    if commands < 2:
        raise SystemExit("--commands needs 2 or more: the first fills the cache, the second does not.")
    return [round(at * (trials - 1) / (commands - 1)) for at in range(commands)]


def all_commands(trials: Sequence[Mapping[str, Any]], alone: Mapping[int, float]) -> float:
    """Return the seconds of all settings as commands, of which some were run.

    Args:
        trials: The trials of the sweep.
        alone: The number of a trial -> the seconds of its command.
    """
    others = {at: seconds for at, seconds in alone.items() if at}
    beyond = fmean(seconds - trials[at]["seconds"] for at, seconds in others.items())
    return sum(alone.get(at, trial["seconds"] + beyond) for at, trial in enumerate(trials))


def main() -> None:
    from retrieval_sets import machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", choices=sorted(SETTINGS), default="tiny")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--against", choices=["finetune", "run"], default="finetune")
    parser.add_argument(
        "--commands", type=int, help="how many of the settings run as commands; all without it"
    )
    parser.add_argument("--pruned", action="store_true", help="let the sweep stop hopeless trials early")
    options = parser.parse_args()
    if options.pruned and options.commands is not None:
        raise SystemExit(
            "--pruned needs all commands: a trial that was stopped says nothing about its command."
        )
    settings, space = SETTINGS[options.model], f"hparams={SPACE[options.model]}"
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name) / "sweep", Path(name) / "commands"
        ours.mkdir()
        theirs.mkdir()
        swept = run(
            ours,
            "finetune",
            "-m",
            space,
            *settings,
            f"hydra.sweeper.n_trials={options.trials}",
            "hydra.sweep.dir=sweep",
            *([] if options.pruned else ["hydra.sweeper.pruner._target_=optuna.pruners.NopPruner"]),
            "hydra.sweeper.winner=false",
        )
        trials = json.loads((ours / "sweep" / "sweep.json").read_text())["trials"]
        alone = {
            at: run(
                theirs,
                options.against,
                *settings,
                f"hydra.run.dir=run{at}",
                *(f"{key}={value}" for key, value in trials[at]["params"].items()),
            )
            for at in chosen(len(trials), options.commands)
        }
    count = len(trials)
    commands = all_commands(trials, alone) if count > 1 else alone[0]
    print(
        f"{count} trials in one sweep: {swept:.1f} s; as commands: {commands:.1f} s ({len(alone)} were run)"
    )
    print(f"the commands that were run: {', '.join(f'{seconds:.1f}' for seconds in alone.values())} s")
    result = {
        "benchmark": "sweep_speed",
        "ours": round(swept / count, 2),
        "peer": round(commands / count, 2),
        "ratio": round(commands / swept, 3),
        "unit": "s/trial",
        "share": round(swept / commands, 3),
        "against": options.against,
        "commands": len(alone),
        "pruned": sum(trial["state"] == "pruned" for trial in trials),
        "model": options.model,
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
