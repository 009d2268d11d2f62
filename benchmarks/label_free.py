"""What documents alone gain: experiment=label_free on sets whose tests are people's own questions.

    python benchmarks/label_free.py                                # three sets, 200 questions each: minutes
    python benchmarks/label_free.py --sets all --questions 1000 --ways label_free labels
    python benchmarks/label_free.py --ways pairs query_encoder label_free --seeds 0 1 2

A set is trained on without its judgments, and scored on people's questions: with experiment=label_free,
with one of its two stages alone (pairs, query_encoder), without any experiment (default), with 250
questions by the packaged Gemma 3 270M beside what is cut out of the documents (llm), or on its judgments
(labels: experiment=best_small). With several seeds the last table gives the mean gain of each way and its
standard deviation over the seeds. Every run keeps its folder and its caches below --out, so that an
interrupted measurement goes on where it was. The peer is the untuned model alone; the column "hybrid" is
that model with BM25. The columns "on dev" are gains on the dev questions, which were cut out of the
documents: what a verdict without people's questions would have said.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from retrieval_sets import SETS, machine

Results = dict[tuple[str, str, int], dict[str, Any]]
METRIC = "ndcg@10"
RECIPE = ["experiment=label_free", "dataset.train=synthetic"]
FREE = [*RECIPE, "synthesis=extractive"]
WAYS = {
    "label_free": FREE,
    "default": ["dataset.train=synthetic", "synthesis=extractive"],
    "pairs": [
        *FREE,
        "trainer=auto",
        "loss=mnrl",
        "trainer.merge=[0.5]",
        "trainer.select=preferred",
        "trainer.preferred_share=0.5",
        "synthesis.query_types=[faq,title,heading,definition,caption,sentence,comment,link,keywords]",
    ],
    "query_encoder": [*FREE, "trainer=query_encoder"],
    "llm": [*RECIPE, "synthesis=extractive_and_rag", "llm=llamacpp", "synthesis.written.target=250"],
    "labels": ["experiment=best_small"],
}


def run(way: str, folder: Path, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run an experiment unless its outcome is there already, and return the outcome."""
    out = options.out / f"{folder.name}-{way}{f'-seed{seed}' if seed else ''}"
    return _outcome(out, "run", folder, [*WAYS[way], f"seed={seed}", *options.override], options)


def untuned_hybrid(folder: Path, options: argparse.Namespace) -> float:
    """Return the score of the untuned model with BM25 at the default weight, without parts of passages."""
    arguments = ["dataset.train=none", "retriever=exact"]
    outcome = _outcome(options.out / f"{folder.name}-untuned", "benchmark", folder, arguments, options)
    return float(outcome["scores"]["hybrid"][METRIC])


def _outcome(
    out: Path, command: str, folder: Path, arguments: list[str], options: argparse.Namespace
) -> dict[str, Any]:
    if not (out / "outcome.json").exists():
        given = ["dataset=beir", f"dataset.path={folder}", f"model={options.model}", "tracker=none"]
        given += [f"benchmark.limit={options.questions}", f"paths.cache={options.out / 'cache'}"]
        started = [sys.executable, "-m", f"embexp.{command}", *given, *arguments, f"hydra.run.dir={out}"]
        done = subprocess.run(started, check=False, stdout=subprocess.DEVNULL)
        if done.returncode:
            raise SystemExit(f"{folder.name}: {' '.join(started)} ended with exit code {done.returncode}")
    outcome: dict[str, Any] = json.loads((out / "outcome.json").read_text(encoding="utf-8"))
    return outcome


def row(outcome: dict[str, Any], hybrid: float) -> dict[str, Any]:
    """Return what the table shows of an outcome, and of the untuned model with BM25."""
    served, scores = outcome["retriever"], outcome["scores"]
    return {
        "untuned": scores["untuned"][METRIC],
        "bm25": scores["bm25"][METRIC],
        "hybrid": hybrid,
        "model": scores["tuned"][METRIC],
        "model delta": outcome["comparison"]["delta"],
        "model verdict": outcome["comparison"]["verdict"],
        "retriever": served["scores"][METRIC],
        "retriever delta": served["comparison"]["delta"],
        "retriever verdict": served["comparison"]["verdict"],
        "served": f"{served['model']} {served['weight']:g}",
        "model on dev": served["alone"]["tuned"] - served["alone"]["untuned"] if served["alone"] else None,
        "retriever on dev": _on_dev(served),
        "training seconds": outcome["training"]["seconds"],
    }


def _on_dev(served: dict[str, Any]) -> float | None:
    """Return the gain over the untuned model alone on the dev questions; None where dev could not choose."""
    if not served["alone"]:
        return None
    chosen: float = served["curve"][served["model"]][served["weights"].index(served["weight"])]
    return chosen - float(served["alone"]["untuned"])


def table(results: Results) -> str:
    """Return the results as a Markdown table."""
    columns = list(next(iter(results.values())))
    lines = [f"| set | trained on | seed | {' | '.join(columns)} |", f"|:--|:--|--:|{'--:|' * len(columns)}"]
    for (name, way, seed), values in results.items():
        cells = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in values.values()]
        lines.append(f"| {name} | {way} | {seed} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(results: Results, options: argparse.Namespace) -> str:
    """Return, for each way, the gains over all sets: their mean, and their standard deviation over seeds."""
    lines = ["| trained on | model | retriever | training seconds |", "|:--|:--|:--|--:|"]
    for way in options.ways:
        gains = []
        for column in ("model delta", "retriever delta"):
            means = [
                mean(values[column] for (_, each, drawn), values in results.items() if (each, drawn) == key)
                for key in ((way, seed) for seed in options.seeds)
            ]
            spread = f" ± {stdev(means):.3f}" if len(means) > 1 else ""
            gains.append(f"{mean(means):+.3f}{spread}")
        seconds = mean(values["training seconds"] for (_, each, _), values in results.items() if each == way)
        lines.append(f"| {way} | {' | '.join(gains)} | {seconds:.0f} |")
    return "\n".join(lines)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=SETS, help="the folder of the sets, in the BEIR layout")
    parser.add_argument(
        "--sets", nargs="+", default=["attack", "stackfaq", "banking77"], help="their names, or all"
    )
    parser.add_argument("--model", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--questions", type=int, default=200, help="the most test questions of a set")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["label_free"], help="how to train")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--override", nargs="*", default=[], help="changes of the recipe: loss.weight=0.4")
    parser.add_argument("--out", type=Path, default=Path("outputs/label_free"))
    return parser.parse_args()


def main() -> None:
    options = parsed()
    options.out = options.out.resolve()
    every = sorted(path.parent.name for path in options.data.glob("*/corpus.jsonl"))
    names = every if options.sets == ["all"] else options.sets
    results: Results = {}
    for seed, name, way in product(options.seeds, names, options.ways):
        folder = (options.data / name).resolve()
        outcome = run(way, folder, seed, options)
        results[name, way, seed] = row(outcome, untuned_hybrid(folder, options))
        print(
            json.dumps({"set": name, "trained on": way, "seed": seed, **results[name, way, seed]}), flush=True
        )
    print(table(results), summary(results, options), sep="\n\n")
    free = [values for (_, way, _), values in results.items() if way == "label_free"]
    if not free:
        return
    ours, peer = mean(each["retriever"] for each in free), mean(each["untuned"] for each in free)
    result = {
        "benchmark": "label_free",
        "ours": round(ours, 4),
        "peer": round(peer, 4),
        "ratio": round(ours / peer, 3),
        "unit": "nDCG@10",
        "machine": machine(),
        "model_delta": round(mean(each["model delta"] for each in free), 4),
        "retriever_delta": round(mean(each["retriever delta"] for each in free), 4),
        "retriever_delta_on_dev": round(mean(each["retriever on dev"] or 0.0 for each in free), 4),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
