"""How many pairs per second embexp trains on, compared with a plain sentence-transformers script.

    python benchmarks/training_speed.py

The plain script, the default and the fast trainer run in turn, each in a process of its own: the same model,
the same pairs, in-batch negatives, batches of 64 and 128 tokens. Peak memory is that process's. Then all
three are scored on the same held-out questions over the same passages. The last line compares the default
trainer's rate with the plain script's.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median

SIDES = ("peer", "default", "fast")
SEED = 0


def measure(side: str, options: argparse.Namespace) -> dict[str, object]:
    """Train one side in this process; return its rate, peak memory and held-out scores."""
    from embexp.finetuning.cpu import prepare_torch

    if side != "peer":
        prepare_torch()
    from retrieval_sets import load, model_source, plain_training, score

    data = load(options.data, pairs=options.pairs, dev=0, test=options.questions, seed=SEED)
    model = model_source(options.model).load()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if side == "peer":
            seconds = plain_training(model, data.train, work, batch=64, seed=SEED)
            rate = len(data.train) / seconds
        else:
            rate = _ours(side, model, data.train, work)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        scores = score(model, data.test_task, work)
    return {"side": side, "rate": rate, "peak_mib": peak, "scores": asdict(scores)}


def _ours(side: str, model, pairs, work: Path) -> float:  # type: ignore[no-untyped-def]
    from embexp.data.splitting import Splits
    from embexp.finetuning.losses import Mnrl
    from embexp.finetuning.trainer import SentenceTransformerFineTuner

    rates = {"dropout": 0.0, "attention_dropout": 0.0} if side == "fast" else {}
    tuner = SentenceTransformerFineTuner(max_pairs=None, evaluations=0, bf16=None, **rates)
    training = tuner.fit(
        model,
        Mnrl(),
        Splits(train=pairs, dev=[], test=[]),
        dev_scores=lambda _: {},
        work_dir=work,
        seed=SEED,
        on_step=lambda _: None,
    )
    return training.pairs_per_second


def in_own_process(side: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--side", side], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    from retrieval_sets import SETS, machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=SETS / "tatqa", help="a set in the BEIR layout")
    parser.add_argument("--model", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--pairs", type=int, default=640)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=1, help="how often each side is measured, in turn")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measure(options.side, options)))
        return
    rounds = [{side: in_own_process(side) for side in SIDES} for _ in range(options.rounds)]
    rates = {side: median(float(each[side]["rate"]) for each in rounds) for side in SIDES}
    for side in SIDES:
        last = rounds[-1][side]
        print(
            f"{side}: {rates[side]:.1f} pairs/s, peak {last['peak_mib']:.0f} MiB, "
            f"nDCG@10 {last['scores']['mean']['ndcg@10']:.4f}"
        )
    print(json.dumps(summary(rounds[-1], rates, machine())))


def summary(last: dict[str, dict], rates: dict[str, float], machine: str) -> dict[str, object]:  # type: ignore[type-arg]
    from embexp.benchmarking.metrics import Scores
    from embexp.benchmarking.statistics.comparison import compare

    scores = {side: Scores(**last[side]["scores"]) for side in SIDES}
    clusters = {query: query for query in scores["peer"].per_query}
    comparison = compare(scores["peer"], scores["default"], metric="ndcg@10", clusters=clusters, seed=SEED)
    return {
        "benchmark": "training_speed",
        "ours": round(rates["default"], 2),
        "peer": round(rates["peer"], 2),
        "ratio": round(rates["default"] / rates["peer"], 2),
        "unit": "pairs/s",
        "machine": machine,
        "fast": round(rates["fast"], 2),
        "fast_ratio": round(rates["fast"] / rates["peer"], 2),
        "peak_mib": {side: round(float(last[side]["peak_mib"])) for side in SIDES},
        "ndcg@10": {side: round(scores[side].mean["ndcg@10"], 4) for side in SIDES},
        "default_minus_peer": [
            round(comparison.delta, 4),
            [round(value, 4) for value in comparison.interval],
        ],
    }


if __name__ == "__main__":
    main()
