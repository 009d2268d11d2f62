"""How long a trial of a sweep takes, compared with the same trials as separate commands.

    python benchmarks/sweep_speed.py

A sweep of ten trials runs first, without pruning, so that every training is complete. Then the same ten
settings run as ten commands (python -m embexp.finetune), one after the other in a fresh folder: they share
chunks and pairs through the cache as the trials do, but each has its own start-up and imports. Both times are
divided by the number of trials; the sweep's report is included, the winner's own run is not. --model minilm
uses the real model instead of a random one (about an hour).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS = {
    "tiny": ["experiment=tiny"],
    "minilm": ["experiment=quickstart", "trainer=fast", "trainer.max_pairs=640"],
}
SPACE = {"tiny": "tiny", "minilm": "mnrl"}


def run(folder: Path, *arguments: str) -> float:
    """Run ``python -m embexp.finetune`` and return its seconds."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "embexp.finetune", *arguments, "tracker=none"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return time.monotonic() - start


def main() -> None:
    from retrieval_sets import machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", choices=sorted(SETTINGS), default="tiny")
    parser.add_argument("--trials", type=int, default=10)
    options = parser.parse_args()
    settings, space = SETTINGS[options.model], f"hparams={SPACE[options.model]}"
    with tempfile.TemporaryDirectory() as name:
        ours, theirs = Path(name) / "sweep", Path(name) / "commands"
        ours.mkdir()
        theirs.mkdir()
        swept = run(
            ours,
            "-m",
            space,
            *settings,
            f"hydra.sweeper.n_trials={options.trials}",
            "hydra.sweep.dir=sweep",
            "hydra.sweeper.pruner._target_=optuna.pruners.NopPruner",
            "hydra.sweeper.winner=false",
        )
        trials = json.loads((ours / "sweep" / "sweep.json").read_text())["trials"]
        alone = [
            run(
                theirs,
                space,
                *settings,
                f"hydra.run.dir=run{trial['number']}",
                *(f"{key}={value}" for key, value in trial["params"].items()),
            )
            for trial in trials
        ]
    count = len(trials)
    print(f"{count} trials in one sweep: {swept:.1f} s; as commands: {sum(alone):.1f} s")
    print(f"the first command {alone[0]:.1f} s, the others {sum(alone[1:]) / max(count - 1, 1):.1f} s each")
    result = {
        "benchmark": "sweep_speed",
        "ours": round(swept / count, 2),
        "peer": round(sum(alone) / count, 2),
        "ratio": round(sum(alone) / swept, 3),
        "unit": "s/trial",
        "model": options.model,
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
