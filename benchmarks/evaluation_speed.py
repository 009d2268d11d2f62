"""Seconds to score a model, cold and with cached vectors, compared with sentence-transformers and mteb.

    python benchmarks/evaluation_speed.py

All sides load the same model and score the same questions on the same corpus; they take turns, each in a
process of its own, and the medians count. The peer is the faster of sentence-transformers'
InformationRetrievalEvaluator and mteb (pip install "embexp[mteb]"). Our side runs as `embexp.benchmark`
does: with its settings of the allocator, in mixed precision where the CPU has bf16 units (`--float32`
encodes all in float32), and it reads and hashes the model's files each time.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from retrieval_sets import machine, model_source

from embexp.benchmarking.systems import score_embedder
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.records import Chunk
from embexp.finetuning.cpu import prepare_torch
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


SIDES = ("sentence-transformers", "ours", "mteb")


def ours(source: ModelSource, task: RetrievalTask, cache: Path, *, bf16: bool) -> float:
    embedder = SourceEmbedder(source, EmbeddingCache(cache), bf16=bf16)
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


def measure(side: str, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Return the seconds and nDCG@10 of a side, cold and warm for ours; what it imports is not timed."""
    source, small = model_source(options.model), build_task(4, 2)
    task = build_task(options.documents, options.questions)
    if side == "sentence-transformers":
        sentence_transformers(source, small)
        return {side: timed(lambda: sentence_transformers(source, task))}
    if side == "mteb":
        mteb_evaluate(source, mteb_task(small))
        theirs = mteb_task(task)
        theirs.load_data()
        return {side: timed(lambda: mteb_evaluate(source, theirs))}
    with tempfile.TemporaryDirectory() as folder:
        bf16 = not options.float32
        ours(source, small, Path(folder) / "small", bf16=bf16)
        whole = Path(folder) / "whole"
        return {name: timed(lambda: ours(source, task, whole, bf16=bf16)) for name in ("cold", "warm")}


def in_own_process(side: str) -> dict[str, tuple[float, float]]:
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--documents", type=int, default=1500)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--model", choices=("minilm", "tiny"), default="minilm")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--float32", action="store_true", help="encode all in float32, as on other CPUs")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        if options.side == "ours":
            prepare_torch()
        print(json.dumps(measure(options.side, options)))
        return
    rounds = [
        {name: value for side in SIDES for name, value in in_own_process(side).items()}
        for _ in range(options.rounds)
    ]
    seconds = {name: median(each[name][0] for each in rounds) for name in rounds[0]}
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
        "ndcg@10": {name: round(value, 6) for name, (_, value) in rounds[-1].items()},
        "machine": machine(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
