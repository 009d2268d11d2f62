"""How much a sweep of the search space hparams=mnrl gains on dev over the defaults.

    python benchmarks/sweep_quality.py

MiniLM on Python's documentation, few pairs and eight trials, the first of which runs with the defaults. The
last line compares the winner's dev score with the defaults'; the line before it is the winner's verdict on
the test questions, which the sweep never sees. The dev score of the best of eight trials is optimistic; the
verdict is not.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

MODELS = {"minilm": ["experiment=quickstart", "trainer=fast"], "tiny": ["experiment=tiny"]}


def main() -> None:
    from retrieval_sets import machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", choices=sorted(MODELS), default="minilm")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=320)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        command = [
            sys.executable,
            "-m",
            "embexp.run",
            "-m",
            "hparams=mnrl",
            *MODELS[options.model],
            "tracker=none",
            f"trainer.max_pairs={options.pairs}",
            f"hydra.sweeper.n_trials={options.trials}",
            "trainer.evaluations=4",
            "hydra.sweep.dir=sweep",
        ]
        done = subprocess.run(command, cwd=name, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"The sweep failed with exit code {done.returncode}.")
        print(done.stdout)
        sweep = json.loads((Path(name) / "sweep" / "sweep.json").read_text())
        outcome = json.loads((Path(name) / "sweep" / "winner" / "outcome.json").read_text())
    comparison = outcome["comparison"]
    low, high = comparison["interval"]
    print(
        f"On test: {comparison['verdict']}, {comparison['metric']} {comparison['delta']:+.4f} "
        f"({low:+.4f} … {high:+.4f}) against the untuned model"
    )
    winner, defaults = sweep["best"]["values"][0], sweep["defaults"]["values"][0]
    result = {
        "benchmark": "sweep_quality",
        "ours": round(winner, 4),
        "peer": round(defaults, 4),
        "ratio": round(winner / defaults, 3),
        "unit": f"{comparison['metric']} on dev",
        "model": options.model,
        "trials": options.trials,
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
