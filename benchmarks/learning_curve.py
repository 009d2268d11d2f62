"""How the score grows with the number of training pairs: the curves in docs/how_much_data.md.

    python benchmarks/learning_curve.py                            # 100 to 3,000 pairs of two sets: an hour
    python benchmarks/learning_curve.py --sets attack --sizes 100 300        # minutes
    python benchmarks/learning_curve.py --kept kept.jsonl          # adds to kept.jsonl and resumes from it

Each size trains MiniLM anew with trainer=auto, on the first pairs in one random order, so that a smaller size
is a part of a larger one. Dev and the held-out questions, and the passages that they search, are the same for
all sizes. The interval is that of the difference from the untuned model.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from embexp.finetuning.cpu import prepare_torch

prepare_torch()

from quality import ours  # noqa: E402
from retrieval_sets import SETS, RetrievalSet, load, machine, model_source, score  # noqa: E402

from embexp.benchmarking.metrics import Scores  # noqa: E402
from embexp.benchmarking.statistics.comparison import compare  # noqa: E402

METRIC = "ndcg@10"


def measure(data: RetrievalSet, untuned: Scores, options: argparse.Namespace) -> dict[str, Any]:
    """Train on the pairs of a set; return the score, its gain over the untuned model, and the interval."""
    model = model_source(options.model).load()
    clusters = {query.id: query.cluster for query in data.test_task.queries}
    with tempfile.TemporaryDirectory() as folder:
        selected = ours("auto", data, model, Path(folder), seed=options.seed, overrides=[])
        tuned = score(model, data.test_task, Path(folder))
    gain = compare(untuned, tuned, metric=METRIC, clusters=clusters, seed=options.seed)
    return {
        METRIC: round(tuned.mean[METRIC], 4),
        "gain": round(gain.delta, 4),
        "interval": [round(end, 4) for end in gain.interval],
        "selected": selected,
    }


def read_kept(path: Path | None, common: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the measurements of an earlier call with the same settings."""
    if path is None or not path.exists():
        return []
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [row for row in rows if common.items() <= row.items()]


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=SETS, help="the folder of the sets, in the BEIR layout")
    parser.add_argument("--sets", nargs="+", default=["attack", "tatqa"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument("--model", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--dev", type=int, default=100, help="questions that select the weights")
    parser.add_argument("--questions", type=int, default=300, help="held-out questions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, help="a file of measurements to add to and resume from")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    common = {name: getattr(options, name) for name in ("model", "dev", "questions", "seed")}
    rows = read_kept(options.kept, common)
    untuned: dict[str, Scores] = {}
    for size in sorted(options.sizes):
        for name in options.sets:
            data = load(
                *(options.data / name,),
                **{"pairs": size, "dev": options.dev, "test": options.questions, "seed": options.seed},
            )
            key = {"set": name, "pairs": len(data.train)}
            if any(key.items() <= row.items() for row in rows):
                continue
            if name not in untuned:
                with tempfile.TemporaryDirectory() as folder:
                    untuned[name] = score(model_source(options.model).load(), data.test_task, Path(folder))
            base = {"untuned": round(untuned[name].mean[METRIC], 4)}
            row = {**common, **key, **base, **measure(data, untuned[name], options)}
            print(json.dumps(row), flush=True)
            rows.append(row)
            if options.kept:
                with options.kept.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(row) + "\n")
    print(json.dumps({"benchmark": "learning_curve", "machine": machine(), "rows": rows}))


if __name__ == "__main__":
    main()
