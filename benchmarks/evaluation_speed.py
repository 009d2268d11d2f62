"""Seconds to score a model, cold and with cached vectors, compared with sentence-transformers and mteb.

    python benchmarks/evaluation_speed.py

All sides load the same model and score the same questions on the same corpus; they take turns, and the
medians count. The peer is the faster of sentence-transformers' InformationRetrievalEvaluator and mteb (pip
install "embexp[mteb]"). Our side reads and hashes the model's files each time, as a fresh process does.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from retrieval_sets import machine, model_source

from embexp.benchmarking.systems import score_embedder
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.models import folder as model_files
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.models.sources import ModelSource

if TYPE_CHECKING:
    from mteb import AbsTask

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
    return score_embedder(task, embedder, system="ours", folder=cache).mean["ndcg@10"]


def sentence_transformers(source: ModelSource, task: RetrievalTask) -> float:
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    evaluator = InformationRetrievalEvaluator(
        {query.id: query.text for query in task.queries},
        {chunk.id: chunk.passage for chunk in task.corpus},
        {query: set(judged) for query, judged in task.qrels.items()},
        show_progress_bar=False,
    )
    scores = evaluator(source.load())
    return float(next(value for name, value in scores.items() if name.endswith("cosine_ndcg@10")))


def mteb_task(task: RetrievalTask) -> AbsTask:
    """Return a task of mteb's own kind with the same corpus, questions and judgments."""
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class Speed(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="Speed",
            description="Made up.",
            reference=None,
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            dataset={"path": "none/none", "revision": "1"},
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            date=None,
            domains=None,
            task_subtypes=None,
            license=None,
            annotations_creators=None,
            dialect=None,
            sample_creation=None,
            bibtex_citation=None,
        )

        def load_data(self, **_: object) -> None:
            self.corpus = {"test": {chunk.id: {"text": chunk.passage} for chunk in task.corpus}}
            self.queries = {"test": {query.id: query.text for query in task.queries}}
            self.relevant_docs = {"test": {query: dict(judged) for query, judged in task.qrels.items()}}
            self.data_loaded = True

    return Speed()


def mteb_evaluate(source: ModelSource, task: AbsTask) -> float:
    import mteb

    quiet = {"show_progress_bar": False}
    result = mteb.evaluate(
        source.load(), task, cache=None, show_progress_bar=False, encode_kwargs=quiet, co2_tracker=False
    )
    return float(result.task_results[0].scores["test"][0]["ndcg_at_10"])


def timed(side: Callable[[], float]) -> tuple[float, float]:
    model_files._digest_of.cache_clear()  # else a process hashes each file only once
    start = time.perf_counter()
    score = side()
    return time.perf_counter() - start, score


def measure(
    source: ModelSource, task: RetrievalTask, rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the median seconds and the score of each side."""
    theirs = mteb_task(task)
    theirs.load_data()
    small = build_task(4, 2)
    sentence_transformers(source, small)  # so that imports are not timed
    mteb_evaluate(source, mteb_task(small))
    seconds: dict[str, list[float]] = defaultdict(list)
    score: dict[str, float] = {}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            ours(source, small, Path(folder) / "small")
            sides = {
                "sentence-transformers": lambda: sentence_transformers(source, task),
                "cold": lambda cache=Path(folder): ours(source, task, cache),
                "mteb": lambda: mteb_evaluate(source, theirs),
                "warm": lambda cache=Path(folder): ours(source, task, cache),
            }
            for name, side in sides.items():
                elapsed, score[name] = timed(side)
                seconds[name].append(elapsed)
    return {name: median(values) for name, values in seconds.items()}, score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1500)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--model", choices=("minilm", "tiny"), default="minilm")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    source = model_source(options.model)
    seconds, score = measure(source, build_task(options.documents, options.questions), options.rounds)
    peer = min(seconds["sentence-transformers"], seconds["mteb"])
    result = {
        "benchmark": "evaluation_speed",
        "ours": round(seconds["cold"], 3),
        "peer": round(peer, 3),
        "ratio": round(peer / seconds["cold"], 3),
        "unit": "s, cold",
        "warm": round(seconds["warm"], 3),
        "warm_ratio": round(peer / seconds["warm"], 1),
        "peers": {name: round(seconds[name], 3) for name in ("sentence-transformers", "mteb")},
        "ndcg@10": {name: round(value, 6) for name, value in score.items()},
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
