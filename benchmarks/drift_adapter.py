"""How much of a tuned model's gain an adapter brings to the index of the untuned model.

    python benchmarks/drift_adapter.py                          # one set, 400 questions: about five minutes
    python benchmarks/drift_adapter.py --run outputs/DATE/TIME  # of a run that is there

MiniLM is tuned by the default trainer on the set's own judgments. Each kind of adapter alone, and then the
choice among all, is scored on the test questions. The peer is the orthogonal map of Drift-Adapter.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

from retrieval_sets import SETS, machine

from embexp.migrating.drift import DriftKind


def tuned_run(options: argparse.Namespace) -> Path:
    """Return the folder of a run, which is made if it is not there."""
    if options.run:
        return Path(options.run)
    folder: Path = options.out / options.set
    if not (folder / "outcome.json").exists():
        command = [
            sys.executable,
            "-m",
            "embexp.run",
            "dataset=beir",
            f"dataset.path={options.data / options.set}",
        ]
        command += [f"model={options.model}", "tracker=none", f"benchmark.limit={options.questions}"]
        command += [f"hydra.run.dir={folder}", f"paths.cache={options.out / 'cache'}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def score(run: Path, kinds: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Fit and score adapters of some kinds; return the report."""
    to = options.out / "adapters" / "_".join(kinds)
    command = [sys.executable, "-m", "embexp.migrate", "--run", str(run), "--to", str(to)]
    subprocess.run([*command, f"migrate.kinds=[{','.join(kinds)}]"], check=True, stdout=subprocess.DEVNULL)
    report: dict[str, Any] = json.loads((to / "migrate.json").read_text(encoding="utf-8"))
    return report


def share(report: dict[str, Any]) -> float:
    """Return the share of the gain that is kept, also of one that is not sure."""
    return float(report["kept"]["delta"] / report["gain"]["delta"])


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=SETS, help="the folder of the sets, in the BEIR layout")
    parser.add_argument("--set", default="attack", help="the set's name")
    parser.add_argument("--run", help="the folder of a finished run, instead of a new one")
    parser.add_argument("--model", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--questions", type=int, default=400, help="the most test questions")
    parser.add_argument("--out", type=Path, default=Path("outputs/drift_adapter"))
    return parser.parse_args()


def main() -> None:
    options = parsed()
    options.out = options.out.resolve()
    run, kinds = tuned_run(options), list(get_args(DriftKind))
    for kind in kinds:
        report = score(run, [kind], options)
        print(kind, f"{share(report):.1%}", report["share_interval"], report["held_out_hits"], flush=True)
        if kind == "orthogonal":
            peer = share(report)
    chosen = score(run, kinds, options)
    result = {
        "benchmark": "drift_adapter",
        "ours": round(share(chosen), 4),
        "peer": round(peer, 4),
        "ratio": round(share(chosen) / peer, 3),
        "unit": "share of the gain",
        "machine": machine(),
        "kind": chosen["kind"],
        "interval": chosen["share_interval"],
        "scores": chosen["scores"],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
