"""How well the recommended recipe retrieves, beside plain in-batch training on the same pairs.

    python benchmarks/quality.py                                 # one seed, 400 pairs: minutes on two cores
    python benchmarks/quality.py --pairs 1500 --seeds 0 1 2 --ablate      # the whole measurement, hours there

The peer is a plain sentence-transformers script: one epoch, in-batch negatives, learning rate 5e-5, the
last weights. Ours is experiment=best_small, which chooses by questions of its own that are not trained on.
Both are asked the same held-out questions over the same passages. nDCG@10 is averaged over sets and seeds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from embexp.finetuning.allocator import tune_allocator

tune_allocator()

from retrieval_sets import SETS, RetrievalSet, load, machine, model_source, plain_training, score  # noqa: E402

ABLATIONS = {
    "without hard negatives": ["trainer.hard_negatives=0"],
    "one epoch": ["trainer.epochs=1"],
    "with dropout": ["trainer.dropout=null", "trainer.attention_dropout=null"],
    "without merging": ["trainer.merge=[]"],
    "without choosing on dev": ["trainer.deliver=tuned", "trainer.evaluations=0"],
    "with GIST": ["loss=gist"],
}


def recipe(overrides: list[str]) -> Any:
    """Return the configuration of experiment=best_small, with changes."""
    from hydra import compose, initialize_config_dir

    from embexp.config.schema import conf_dir, register

    register()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        fixed = ["experiment=best_small", "paths.root=.", "paths.cache=outputs/cache"]
        return compose("config", overrides=[*fixed, *overrides])


def ours(data: RetrievalSet, model: Any, work: Path, *, seed: int, overrides: list[str]) -> str:
    """Train by the recipe; return what it delivered."""
    from hydra.utils import instantiate

    from embexp.types import Splits

    config = recipe(overrides)
    tuner = instantiate(config.trainer, _convert_="all")
    loss = instantiate(config.loss, _convert_="all")
    training = tuner.fit(
        model, loss, Splits(train=data.train, dev=data.dev, test=[]),
        dev_scores=lambda trained: score(trained, data.dev_task, work).mean, work_dir=work / "training",
        seed=seed, on_step=lambda _: None,
    )  # fmt: skip
    return str(training.delivered)


def measure(name: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Return each way's nDCG@10 on one set with one seed."""
    data = load(options.data / name, pairs=options.pairs, dev=options.dev, test=options.questions, seed=seed)
    ways = {"best_small": [], **(ABLATIONS if options.ablate else {})}
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        model = model_source(options.model).load()
        found["untuned"] = score(model, data.test_task, Path(folder)).mean["ndcg@10"]
        plain_training(model, data.train, Path(folder) / "plain", batch=64, seed=seed)
        found["plain"] = score(model, data.test_task, Path(folder)).mean["ndcg@10"]
        for way, overrides in ways.items():
            model = model_source(options.model).load()
            work = Path(folder) / way.replace(" ", "_")
            work.mkdir()
            delivered = ours(data, model, work, seed=seed, overrides=[*overrides, *options.override])
            found[way] = score(model, data.test_task, work).mean["ndcg@10"]
            print(f"{name} seed {seed} {way}: {found[way]:.4f} ({delivered})", flush=True)
    print(f"{name} seed {seed} untuned: {found['untuned']:.4f}, plain: {found['plain']:.4f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=SETS, help="the folder of the sets, in the BEIR layout")
    parser.add_argument("--sets", nargs="+", default=["tatqa", "attack"])
    parser.add_argument("--model", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--dev", type=int, default=100, help="questions that choose the weights")
    parser.add_argument("--questions", type=int, default=300, help="held-out questions")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ablate", action="store_true", help="leave out each ingredient in turn, too")
    parser.add_argument("--override", nargs="*", default=[], help="changes of the recipe: trainer.epochs=2")
    options = parser.parse_args()
    found = [measure(name, seed, options) for name in options.sets for seed in options.seeds]
    means = {way: round(mean(run[way] for run in found), 4) for way in found[0]}
    result = {
        "benchmark": "quality",
        "ours": means["best_small"],
        "peer": means["plain"],
        "ratio": round(means["best_small"] / means["plain"], 3),
        "unit": "nDCG@10",
        "machine": machine(),
        "delta": round(means["best_small"] - means["plain"], 4),
        "pairs": options.pairs,
        "seeds": options.seeds,
        "means": means,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
