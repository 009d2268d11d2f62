"""How well the recommended recipe retrieves, beside plain in-batch training on the same pairs.

    python benchmarks/quality.py                                   # one seed, 400 pairs: minutes on two cores
    python benchmarks/quality.py --pairs 1500 --seeds 0 1 2 --kept kept.jsonl     # the whole measurement
    python benchmarks/quality.py --ablate --kept kept.jsonl         # what each ingredient adds
    python benchmarks/quality.py --trainers --kept kept.jsonl       # beside trainer=default and trainer=auto

The peer is a plain sentence-transformers script: one epoch, in-batch negatives, learning rate 5e-5, the
last weights. Ours is experiment=best_small, which selects weights by dev questions that are not trained on.
Both are scored on the same held-out questions over the same passages. nDCG@10 is averaged over sets and
seeds. With --trainers, a line for each set compares auto with the better of default and best_small: the mean
difference with its paired 95% interval, and how long auto took beside best_small.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from embexp.finetuning.cpu import prepare_torch

prepare_torch()

from retrieval_sets import SETS, RetrievalSet, load, machine, model_source, plain_training, score  # noqa: E402

OURS, PEER, UNTUNED = "best_small", "plain", "untuned"
RECIPES = {OURS: ["experiment=best_small"], "default": ["trainer=default"], "auto": ["trainer=auto"]}
PLAIN = {PEER: 1, "plain, three epochs": 3}
CHANGES = {
    "one epoch": ["trainer.epochs=1"],
    "half the learning rate": ["trainer.learning_rate=5e-5"],
    "with dropout": ["trainer.dropout=null", "trainer.attention_dropout=null"],
    "with a mined hard negative": ["+trainer.hard_negatives=1"],
    "with GIST": ["loss=gist"],
    "without merging": ["trainer.merge=[]"],
    "the last weights, not the best on dev": ["+trainer.select=tuned", "trainer.evaluations=0"],
}


def recipe(way: str, overrides: list[str]) -> Any:
    """Return the configuration of a recipe, with changes."""
    from embexp import compose_config

    return compose_config(*RECIPES.get(way, RECIPES[OURS]), *overrides)


@dataclass(frozen=True)
class Measured:
    """What one way reached: nDCG@10 of each held-out question, the weights selected, seconds of training."""

    questions: dict[str, float]
    selected: str = "-"
    seconds: float = 0.0


def ours(way: str, data: RetrievalSet, model: Any, work: Path, *, seed: int, overrides: list[str]) -> Any:
    """Train by a recipe and return what its trainer returns."""
    from hydra.utils import instantiate

    from embexp.data.splitting import Splits
    from embexp.finetuning import DevScores

    def dev_scores(trained: Any) -> DevScores:
        scores = score(trained, data.dev_task, work)
        return DevScores(scores.mean, scores.per_query)

    config = recipe(way, overrides)
    tuner = instantiate(config.trainer, _convert_="all")
    loss = instantiate(config.loss, _convert_="all")
    return tuner.fit(
        model,
        loss,
        Splits(train=data.train, dev=data.dev, test=[]),
        dev_scores=dev_scores,
        work_dir=work / "training",
        seed=seed,
        on_step=lambda _: None,
    )


def measure(way: str, data: RetrievalSet, options: argparse.Namespace, *, seed: int) -> Measured:
    """Train by one way, and ask the held-out questions."""
    model, selected, start = model_source(options.model).load(), "-", time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        if way in PLAIN:
            plain_training(model, data.train, Path(folder), batch=64, seed=seed, epochs=PLAIN[way])
        elif way != UNTUNED:
            changes = [*CHANGES.get(way, []), *options.override]
            selected = ours(way, data, model, Path(folder), seed=seed, overrides=changes).selected
        seconds = time.perf_counter() - start
        scores = score(model, data.test_task, Path(folder)).per_query
    return Measured({query: values["ndcg@10"] for query, values in scores.items()}, selected, seconds)


class Kept:
    """The measurements so far, one per line, so that an interrupted measurement can be resumed."""

    def __init__(self, path: Path | None, options: argparse.Namespace) -> None:
        self.path = path
        self.common = {"pairs": options.pairs, "model": options.model, "override": options.override}
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.exists() else []
        self.rows = [row for row in map(json.loads, lines) if self.common.items() <= row.items()]

    def find(self, **key: object) -> Measured | None:
        row = next((row for row in self.rows if key.items() <= row.items() and "questions" in row), None)
        return Measured(row["questions"], row["selected"], row["seconds"]) if row else None

    def add(self, found: Measured, **key: object) -> None:
        score = round(mean(found.questions.values()), 4)
        row = {**self.common, **key, "ndcg@10": score, **asdict(found)}
        print(json.dumps({name: value for name, value in row.items() if name != "questions"}), flush=True)
        self.rows.append(row)
        if self.path:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")


def beside_the_better(name: str, values: dict[str, list[Measured]]) -> str:
    """Return a line that compares auto with the better of the fixed recipes, over all seeds of a set."""
    from embexp.benchmarking.metrics import Scores
    from embexp.benchmarking.statistics.comparison import compare

    def scores(way: str) -> Scores:
        asked = {
            f"{seed} {query}": {"ndcg@10": value}
            for seed, one in enumerate(values[way])
            for query, value in one.questions.items()
        }
        return Scores(way, {"ndcg@10": mean(each["ndcg@10"] for each in asked.values())}, asked)

    auto = scores("auto")
    better = max(map(scores, (OURS, "default")), key=lambda each: each.mean["ndcg@10"])
    # A question may be asked once for each seed: its differences belong together.
    found = compare(better, auto, clusters={each: each.split(" ", 1)[1] for each in auto.per_query})
    times = [sum(one.seconds for one in values[way]) for way in ("auto", OURS)]
    return (
        f"{name}: auto {found.delta:+.4f} [{found.interval[0]:+.4f}, {found.interval[1]:+.4f}] beside "
        f"{better.system}, the better of the two, in {times[0] / times[1]:.2f} of the time of {OURS}"
    )


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=SETS, help="the folder of the sets, in the BEIR layout")
    parser.add_argument("--sets", nargs="+", default=["tatqa", "attack"])
    parser.add_argument("--model", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--dev", type=int, default=100, help="questions that select the weights")
    parser.add_argument("--questions", type=int, default=300, help="held-out questions")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ablate", action="store_true", help="change each ingredient in turn, too")
    parser.add_argument("--trainers", action="store_true", help="trainer=default and trainer=auto, too")
    parser.add_argument("--override", nargs="*", default=[], help="changes of the recipe: trainer.epochs=2")
    parser.add_argument("--kept", type=Path, help="a file of measurements to add to and resume from")
    return parser.parse_args()


def _means(values: dict[str, dict[str, list[Measured]]], way: str) -> list[float]:
    return [mean(one.questions.values()) for each in values.values() for one in each[way]]


def main() -> None:
    options = parsed()
    kept = Kept(options.kept, options)
    more = [name for name in PLAIN if name != PEER] + list(CHANGES)
    others = [name for name in RECIPES if name != OURS]
    ways = [UNTUNED, PEER, OURS, *(others if options.trainers else []), *(more if options.ablate else [])]
    values: dict[str, dict[str, list[Measured]]] = {name: {way: [] for way in ways} for name in options.sets}
    for seed in options.seeds:
        for name in options.sets:
            data = load(
                options.data / name, pairs=options.pairs, dev=options.dev, test=options.questions, seed=seed
            )
            for way in ways:
                key = {"set": name, "seed": seed, "way": way}
                found = kept.find(**key)
                if found is None:
                    found = measure(way, data, options, seed=seed)
                    kept.add(found, **key)
                values[name][way].append(found)
    if options.trainers:
        print("\n".join(beside_the_better(name, each) for name, each in values.items()))
    means = {way: round(mean(_means(values, way)), 4) for way in ways}
    result = {
        "benchmark": "quality",
        "ours": means[OURS],
        "peer": means[PEER],
        "ratio": round(means[OURS] / means[PEER], 3),
        "unit": "nDCG@10",
        "machine": machine(),
        "delta": round(means[OURS] - means[PEER], 4),
        "pairs": options.pairs,
        "seeds": options.seeds,
        "means": means,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
