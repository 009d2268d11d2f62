"""Peak memory and time of exact search over 100,000 chunks of 384 numbers each, a block of them at a time.

    python benchmarks/scale.py

The peer is the product of all queries with all passages at once; its memory is calculated, not allocated.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time

import numpy as np

from embexp.benchmarking.metrics import evaluate
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.retrieval.exact import ExactIndex

MIB = 2**20
BLOCK = 4096


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def random_vectors(rows: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Return random unit vectors, filled in by blocks: a second copy would hide the memory of the search."""
    vectors = np.empty((rows, dimension), dtype=np.float32)
    for start in range(0, rows, BLOCK):
        some = vectors[start : start + BLOCK]
        some[:] = unit(rng.standard_normal(some.shape, dtype=np.float32))
    return vectors


def peak() -> float:
    """Return the process's peak resident memory in MiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / MIB if sys.platform == "darwin" else size / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--dimension", type=int, default=384)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    vectors = random_vectors(options.chunks, options.dimension, rng)
    targets = rng.integers(0, options.chunks, options.queries)
    noise = rng.standard_normal((options.queries, options.dimension), dtype=np.float32)
    asked = unit(vectors[targets] + 0.08 * noise)
    names = [f"c{at:07}" for at in range(options.chunks)]
    before = peak()
    start = time.perf_counter()
    rankings = ExactIndex(names, vectors, None).nearest(asked, k=100)
    seconds = time.perf_counter() - start
    task = RetrievalTask(
        "scale",
        [Chunk(name, name, "") for name in names],
        [Query(f"q{at}", "", names[target]) for at, target in enumerate(targets)],
        {f"q{at}": {names[target]: 1} for at, target in enumerate(targets)},
        "chunk",
    )
    scores = evaluate(task, {f"q{at}": hits for at, hits in enumerate(rankings)}, system="exact")
    first = np.argmax(asked[:50] @ vectors.T, axis=1)  # the plain product, as a check
    exact = all(hits[0].id == names[row] for hits, row in zip(rankings, first, strict=False))
    ours, peer = peak() - before, options.queries * options.chunks * 4 / MIB
    result = {
        "benchmark": "scale",
        "ours": round(ours, 1),
        "peer": round(peer, 1),
        "ratio": round(peer / max(ours, 1.0), 2),
        "unit": "MiB beside the vectors",
        "peak_rss_mib": round(peak(), 1),
        "vectors_mib": round(vectors.nbytes / MIB, 1),
        "seconds": round(seconds, 2),
        "queries_per_second": round(options.queries / seconds, 1),
        "ndcg@10": round(scores.mean["ndcg@10"], 4),
        "first_hits_exact": exact,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
