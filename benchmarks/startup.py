"""How soon a command answers that does no work: help, the composed configuration, a mistake.

    python benchmarks/startup.py

Each command line starts a process of its own, in turn with two of Hydra's alone: an application with the same
option files and none of our code, and one with a single option file. The least CPU time (user and system) of
all rounds counts, since other work on the machine hardly changes it; on a quiet machine the seconds on the
clock are the same. The exit code is 1 where a command of ours takes longer than a second.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from retrieval_sets import machine

LIMIT = 1.0
"""Seconds within which each of our commands has to answer."""
COMMANDS = {
    "help": ["--help"],
    "configuration": ["--cfg", "job"],
    "unknown option": ["model=minlm"],
    "unknown group": ["losss=mnrl"],
    "unknown key": ["trainer.epocs=1"],
    "unknown metric": ["metric=ndgc@10"],
}
HYDRA_ALONE = ("help", "configuration", "unknown option", "unknown group")
"""What Hydra can answer; it knows nothing of the keys of components."""
APPLICATION = """\
import hydra
from hydra.core.config_store import ConfigStore

store = ConfigStore.instance()
store.store(name="schema", node={{}})
for group in ("llm", "suite", "model", "benchmark", "experiment", "hparams"):
    store.store(group=group, name="null", node={{}})

@hydra.main(config_path={folder!r}, config_name="config", version_base="1.3")
def main(config):
    pass

main()
"""


def cpu_seconds(command: list[str], folder: Path) -> tuple[float, str]:
    """Run a command; return its CPU time and what it printed."""
    before = os.times()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, done.stdout + done.stderr


def sides(folder: Path) -> dict[str, list[str]]:
    """Return the start of each side's command line; the applications are written to ``folder``."""
    small = folder / "conf" / "model"
    small.mkdir(parents=True)
    (small / "minilm.yaml").write_text("name: minilm\n")
    (small.parent / "config.yaml").write_text("defaults:\n  - model: minilm\n")
    conf = Path(__file__).resolve().parent.parent / "conf"
    for name, options in (("same", conf), ("small", small.parent)):
        (folder / f"{name}.py").write_text(APPLICATION.format(folder=str(options)))
    return {
        "ours": [sys.executable, "-m", "embexp.run"],
        "hydra": [sys.executable, str(folder / "same.py")],
        "hydra, one option": [sys.executable, str(folder / "small.py")],
    }


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Return the least CPU seconds of each side, by command."""
    seconds: dict[str, dict[str, float]] = defaultdict(dict)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(rounds + 1):  # the first round compiles what was never imported, and is left out
            for side, start in sides(folder / str(number)).items():
                for what, arguments in COMMANDS.items():
                    if side != "ours" and what not in HYDRA_ALONE:
                        continue
                    used, shown = cpu_seconds([*start, *arguments], folder)
                    if "Traceback" in shown or "No module named" in shown:
                        raise SystemExit(f"{side}, {what}:\n{shown[-2000:]}")
                    if number:
                        seconds[what][side] = min(used, seconds[what].get(side, used))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    seconds = measure(options.rounds)
    for what, each in seconds.items():
        print(f"{what:<15}", "  ".join(f"{side} {used:.2f} s" for side, used in each.items()))
    help_seconds = seconds["help"]
    slowest = max(each["ours"] for each in seconds.values())
    result = {
        "benchmark": "startup",
        "ours": round(help_seconds["ours"], 3),
        "peer": round(help_seconds["hydra"], 3),
        "ratio": round(help_seconds["hydra"] / help_seconds["ours"], 3),
        "unit": "CPU s, --help",
        "slowest": round(slowest, 3),
        "seconds": {
            what: {side: round(used, 3) for side, used in each.items()} for what, each in seconds.items()
        },
        "machine": machine(),
    }
    print(json.dumps(result))
    if slowest > LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
