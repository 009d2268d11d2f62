"""How far scores in mixed precision are from those in float32, set by set, and the time that each takes.

    python benchmarks/precision.py

MiniLM is scored on a part of each set in ../shared/datasets three times: in float32, in mixed precision,
and in mixed precision with float32 for near ties, which is how verdicts are scored. A CPU without bf16
units scores three times in float32. The last line has the largest difference of nDCG@10 to float32 as
`ours`, beside that of mixed precision alone as `peer`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from retrieval_sets import SETS, load, machine, model_source

from embexp.benchmarking.float32_order import order_as_float32
from embexp.benchmarking.metrics import DEFAULT_METRICS, MAX_CUTOFF, evaluate, retrieve
from embexp.benchmarking.systems import score_embedder
from embexp.benchmarking.task import RetrievalTask
from embexp.finetuning.cpu import prepare_torch
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.models.sources import ModelSource
from embexp.retrieval.exact import ExactRetriever

METRIC = "ndcg@10"


def differences(source: ModelSource, task: RetrievalTask) -> dict[str, float]:
    """Return the scores of a task in each precision, the seconds, and the share of texts encoded twice."""
    with tempfile.TemporaryDirectory() as folder:
        path, start = Path(folder), time.perf_counter()
        exact = SourceEmbedder(source, EmbeddingCache(path / "float32"))
        float32 = score_embedder(task, exact, system="float32", folder=path).mean[METRIC]
        middle = time.perf_counter()
        mixed = SourceEmbedder(source, EmbeddingCache(path / "mixed"), bf16=True)
        index = ExactRetriever().index(task.corpus, mixed, path=path)
        rankings = retrieve(task, index, k=MAX_CUTOFF)
        bf16 = evaluate(task, rankings, system="bf16", metrics=DEFAULT_METRICS).mean[METRIC]
        plain = time.perf_counter()
        again = order_as_float32(task, mixed, path)
        rankings = retrieve(task, ExactRetriever().index(task.corpus, mixed, path=path), k=MAX_CUTOFF)
        both = evaluate(task, rankings, system="both", metrics=DEFAULT_METRICS).mean[METRIC]
        end = time.perf_counter()
    texts = len({chunk.passage for chunk in task.corpus}) + len({query.text for query in task.queries})
    return {
        "float32": float32,
        "bf16": bf16 - float32,
        "both": both - float32,
        "again": again / texts,
        "float32 s": middle - start,
        "bf16 s": plain - middle,
        "both s": end - middle,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--questions", type=int, default=300, help="of each set")
    parser.add_argument("--sets", nargs="*", help="names of sets; all if left out")
    options = parser.parse_args()
    names = options.sets or sorted(path.name for path in SETS.iterdir() if path.is_dir())
    source, rows = model_source(options.model), {}
    source.load().encode(["so that imports are not timed"])
    print("set            float32   mixed-f32   both-f32   again   seconds: float32  mixed  both")
    for name in names:
        task = load(SETS / name, pairs=0, dev=0, test=options.questions, seed=0).test_task
        rows[name] = row = differences(source, task)
        print(
            f"{name:12} {row['float32']:9.4f} {row['bf16']:+11.5f} {row['both']:+10.5f} {row['again']:7.1%} "
            f"{row['float32 s']:18.1f} {row['bf16 s']:6.1f} {row['both s']:5.1f}",
            flush=True,
        )
    ours, peer = (max(abs(row[column]) for row in rows.values()) for column in ("both", "bf16"))
    seconds = {side: sum(row[f"{side} s"] for row in rows.values()) for side in ("float32", "bf16", "both")}
    result = {
        "benchmark": "precision",
        "ours": round(ours, 6),
        "peer": round(peer, 6),
        "ratio": round(seconds["float32"] / seconds["both"], 3),
        "unit": "largest difference of nDCG@10 to float32; the ratio is of seconds",
        "seconds": {side: round(value, 1) for side, value in seconds.items()},
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    prepare_torch()
    main()
