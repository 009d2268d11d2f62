"""How well the recommended recipe retrieves, beside plain in-batch training on the same pairs.

    python benchmarks/quality.py                                   # one seed, 400 pairs: minutes on two cores
    python benchmarks/quality.py --pairs 1500 --seeds 0 1 2 --kept kept.jsonl     # the whole measurement
    python benchmarks/quality.py --ablate --kept kept.jsonl         # what each ingredient adds
    python benchmarks/quality.py --trainers --kept kept.jsonl       # beside trainer=default and trainer=auto

The peer is a plain sentence-transformers script: one epoch, in-batch negatives, learning rate 5e-5, the
last weights. Ours is experiment=best_small, which selects weights by dev questions that are not trained on.
Both are scored on the same held-out questions over the same passages. nDCG@10 is averaged over sets and
seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from embexp.finetuning.cpu import tune_allocator

tune_allocator()

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


def ours(way: str, data: RetrievalSet, model: Any, work: Path, *, seed: int, overrides: list[str]) -> str:
    """Train by a recipe; return the name of the selected weights and the time that it took."""
    from hydra.utils import instantiate

    from embexp.data.splitting import Splits
    from embexp.finetuning import DevScores

    def dev_scores(trained: Any) -> DevScores:
        scores = score(trained, data.dev_task, work)
        return DevScores(scores.mean, scores.per_query)

    config = recipe(way, overrides)
    tuner = instantiate(config.trainer, _convert_="all")
    loss = instantiate(config.loss, _convert_="all")
    training = tuner.fit(
        model,
        loss,
        Splits(train=data.train, dev=data.dev, test=[]),
        dev_scores=dev_scores,
        work_dir=work / "training",
        seed=seed,
        on_step=lambda _: None,
    )
    return f"{training.selected} in {training.seconds:.0f} s"


def measure(way: str, data: RetrievalSet, options: argparse.Namespace, *, seed: int) -> tuple[float, str]:
    """Return one way's nDCG@10 on the held-out questions, and the name of the selected weights."""
    model, selected = model_source(options.model).load(), "-"
    with tempfile.TemporaryDirectory() as folder:
        if way in PLAIN:
            plain_training(model, data.train, Path(folder), batch=64, seed=seed, epochs=PLAIN[way])
        elif way != UNTUNED:
            changes = [*CHANGES.get(way, []), *options.override]
            selected = ours(way, data, model, Path(folder), seed=seed, overrides=changes)
        return score(model, data.test_task, Path(folder)).mean["ndcg@10"], selected


class Kept:
    """The measurements so far, one per line, so that an interrupted measurement can be resumed."""

    def __init__(self, path: Path | None, options: argparse.Namespace) -> None:
        self.path = path
        self.common = {"pairs": options.pairs, "model": options.model, "override": options.override}
        lines = path.read_text(encoding="utf-8").splitlines() if path and path.exists() else []
        self.rows = [row for row in map(json.loads, lines) if self.common.items() <= row.items()]

    def find(self, **key: object) -> float | None:
        return next((row["ndcg@10"] for row in self.rows if key.items() <= row.items()), None)

    def add(self, value: float, selected: str, **key: object) -> None:
        row = {**self.common, **key, "ndcg@10": value, "selected": selected}
        print(json.dumps(row), flush=True)
        self.rows.append(row)
        if self.path:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")


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


def main() -> None:
    options = parsed()
    kept = Kept(options.kept, options)
    more = [name for name in PLAIN if name != PEER] + list(CHANGES)
    others = [name for name in RECIPES if name != OURS]
    ways = [UNTUNED, PEER, OURS, *(others if options.trainers else []), *(more if options.ablate else [])]
    values: dict[str, list[float]] = {way: [] for way in ways}
    for seed in options.seeds:
        for name in options.sets:
            data = load(
                options.data / name, pairs=options.pairs, dev=options.dev, test=options.questions, seed=seed
            )
            for way in ways:
                key = {"set": name, "seed": seed, "way": way}
                if kept.find(**key) is None:
                    kept.add(*measure(way, data, options, seed=seed), **key)
                values[way].append(float(kept.find(**key) or 0.0))
    means = {way: round(mean(each), 4) for way, each in values.items()}
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
