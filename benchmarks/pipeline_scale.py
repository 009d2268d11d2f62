"""Wall time and peak memory of each step of a run, for corpora of 10,000, 100,000 and 1,000,000 chunks.

    python benchmarks/pipeline_scale.py                        # 10,000 and 30,000 chunks, a few minutes
    python benchmarks/pipeline_scale.py --chunks 10000 100000 1000000 --folder scale

The documents are made: words by Zipf's law and some of a subject, ten sections each, of which every one
becomes a chunk. A pair is written for every ten chunks. Each step runs in a process of its own, so that the
peak is the step's (with about 0.5 GB for Python and its libraries), and does what a run does with the same
functions. With --folder the results stay: the same command then goes on with the first step that is missing.

``growth`` compares a step's processor time, which other work on the machine changes little, with what n log n
lets expect from the smaller corpus: 1.0 or less means that it grows no faster. ``--model static`` is a table
of vectors without layers, with random numbers; ``tiny`` a transformer of two layers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise, product
from pathlib import Path
from typing import Any

SECTIONS = 10
WORDS = (30, 70)
"""The fewest and the most words of a section."""
SUBJECT = 8
VOCABULARY = 60_000
DOCUMENTS_PER_FILE = 10_000
STATIC_DIMENSION = 256
MIB = 2**20


def vocabulary() -> list[str]:
    """Return made words, the first of which are the shortest, as in a language."""
    onsets, vowels, codas = (
        ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr", "pl"],
        ["a", "e", "i", "o", "u", "ai"],
        ["", "n", "r"],
    )
    syllables = ["".join(parts) for parts in product(onsets, vowels, codas)]
    draw = random.Random(0)
    made = dict.fromkeys(
        "".join(draw.choices(syllables, k=1 + at // 2_000 % 4)) for at in range(2 * VOCABULARY)
    )
    return sorted(list(made)[:VOCABULARY], key=len)


def made_documents(chunks: int) -> Iterator[dict[str, str]]:
    """Yield documents of ten sections each, the same ones each time, and no two alike."""
    words = vocabulary()
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(words))))
    draw = random.Random(1)
    for number in range(chunks // SECTIONS):
        parts = []
        for _ in range(SECTIONS):
            size = draw.randint(*WORDS)
            subject = draw.sample(words, SUBJECT)  # words that the sentences of a section share
            heading = draw.sample(subject, 3)
            body = draw.choices(words, cum_weights=weights, k=size - size // 3) + draw.choices(
                subject, k=size // 3
            )
            draw.shuffle(body)
            cuts = range(0, size, 12)
            text = " ".join(" ".join(body[at : at + 12]).capitalize() + "." for at in cuts)
            parts.append(f"# {' '.join(heading).capitalize()}\n\n{text}")
        title = " ".join(draw.choices(words, cum_weights=weights, k=3)).capitalize()
        yield {"id": f"d{number:07}", "title": title, "text": "\n\n".join(parts)}


def write_documents(folder: Path, chunks: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stream = None
    for number, document in enumerate(made_documents(chunks)):
        if number % DOCUMENTS_PER_FILE == 0:
            if stream:
                stream.close()
            stream = (folder / f"part{number // DOCUMENTS_PER_FILE:04}.jsonl").open("w", encoding="utf-8")
        assert stream is not None
        stream.write(json.dumps(document) + "\n")
    if stream:
        stream.close()


def save_static_model(folder: Path) -> None:
    """Save a model that looks vectors up by token: what ``model=static`` is, with random numbers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    from embexp.models.folder import offline
    from embexp.models.tiny import build_tokenizer

    torch.manual_seed(0)
    table = StaticEmbedding(build_tokenizer(), embedding_dim=STATIC_DIMENSION)
    with offline():
        SentenceTransformer(modules=[table], device="cpu").save(str(folder), create_model_card=False)


def overrides(folder: Path, chunks: int, model: str) -> list[str]:
    """Return the configuration of the run whose steps are measured."""
    models = {"tiny": ["model=tiny"], "static": ["model=local", f"model.path={folder / 'static'}"]}
    return [
        *models[model],
        "dataset=folder",
        f"dataset.path={folder / 'documents'}",
        f"synthesis.target={chunks // SECTIONS}",
        f"paths.cache={folder / 'cache'}",
        f"paths.root={folder}",
        f"hydra.run.dir={folder / 'run'}",
        "tracker=none",
    ]


def chunk(experiment: Any) -> dict[str, int]:
    from embexp.pipeline.data import chunk_documents

    return {"documents": chunk_documents(experiment).documents}


def pair(experiment: Any) -> dict[str, int]:
    from embexp.pipeline.synthesize import write_pairs

    return {"pairs": write_pairs(experiment).count}


def split(experiment: Any) -> dict[str, int]:
    """Split the pairs by document, look for leaks, and count what the model does not read."""
    data = _data(experiment)
    return {"chunks": len(data.chunks), "train": len(data.splits.train), "test": len(data.splits.test)}


def embed(experiment: Any) -> dict[str, int]:
    from embexp.retrieval.index import encoded_blocks

    chunks = _task(experiment).corpus
    done = sum(len(block) for block, _ in encoded_blocks(chunks, _embedder(experiment)))
    return {"vectors": done}


def exact(experiment: Any) -> dict[str, float]:
    from embexp.retrieval.exact import ExactRetriever

    return _searched(experiment, ExactRetriever())


def bm25(experiment: Any) -> dict[str, float]:
    from embexp.retrieval.bm25 import Bm25Retriever

    return _searched(experiment, Bm25Retriever())


def chroma(experiment: Any) -> dict[str, float]:
    from embexp.retrieval.chroma import ChromaRetriever

    return _searched(experiment, ChromaRetriever())


def _data(experiment: Any) -> Any:
    from embexp.pipeline.data import split_pairs
    from embexp.pipeline.synthesize import write_pairs

    return split_pairs(experiment, write_pairs(experiment))


def _embedder(experiment: Any) -> Any:
    from embexp.models.encoder import SourceEmbedder

    return SourceEmbedder(experiment.model, experiment.embeddings)


def _task(experiment: Any) -> Any:
    data = _data(experiment)
    return experiment.benchmark.task(
        data.chunks, data.splits.test, unit=experiment.dataset.unit, scale=data.splits.label_scale()
    )


def _searched(experiment: Any, retriever: Any) -> dict[str, float]:
    """Index the corpus, ask the test questions, and score the rankings."""
    from embexp.benchmarking.metrics import evaluate, retrieve

    task = _task(experiment)
    start = time.monotonic()
    index = retriever.index(task.corpus, _embedder(experiment), path=experiment.cache / "index")
    indexed = time.monotonic()
    rankings = retrieve(task, index)
    searched = time.monotonic()
    scores = evaluate(task, rankings, system="system")
    return {
        "questions": len(task.queries),
        "ndcg@10": round(scores.mean["ndcg@10"], 4),
        "index_seconds": round(indexed - start, 1),
        "search_seconds": round(searched - indexed, 1),
    }


STEPS: dict[str, Callable[[Any], dict[str, Any]]] = {
    each.__name__: each for each in (chunk, pair, split, embed, exact, bm25, chroma)
}


def measure(step: str, folder: Path, chunks: int, model: str) -> None:
    """Run one step in this process, as a command does, and write its seconds and its peak memory."""
    from embexp.config.build import build_run
    from embexp.config.command import hydra_command

    def task(config: Any) -> None:
        experiment, _ = build_run(config)
        start, cpu = time.monotonic(), time.process_time()
        result = STEPS[step](experiment)
        row = {
            "seconds": round(time.monotonic() - start, 2),
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "peak_mib": round(peak()),
            **result,
        }
        (folder / f"{step}.json").write_text(json.dumps(row))

    sys.argv[1:] = overrides(folder, chunks, model)
    hydra_command("run")(task)()


def peak() -> float:
    """Return the process's peak resident memory in MiB."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / MIB if sys.platform == "darwin" else size / 1024


def measured(folder: Path, chunks: int, model: str, steps: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Run the steps that have no result yet, one after the other, and return all results."""
    if not (folder / "made").exists():
        write_documents(folder / "documents", chunks)
        save_static_model(folder / "static")
        (folder / "made").touch()
    rows = {}
    for step in steps:
        file = folder / f"{step}.json"
        if not file.exists():
            command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--model", model]
            with (folder / f"{step}.log").open("w") as log:
                done = subprocess.run(
                    [*command, "--chunks", str(chunks)], stdout=log, stderr=subprocess.STDOUT, check=False
                )
            if done.returncode:
                raise SystemExit(f"{step} of {chunks:,} chunks failed ({done.returncode}): see {log.name}")
        rows[step] = json.loads(file.read_text())
        print(f"{chunks:>9,} {step:8} {json.dumps(rows[step])}", flush=True)
    return rows


def growth(one: float, other: float, small: int, large: int) -> float:
    """Return how many times as long as n log n lets expect a step takes for the larger corpus."""
    return other / max(one, 0.1) / (large * math.log(large) / (small * math.log(small)))


def table(results: dict[int, dict[str, dict[str, Any]]]) -> str:
    sizes = list(results)
    head = ["step", *(f"{size:,}: s, MiB" for size in sizes), *(f"growth to {size:,}" for size in sizes[1:])]
    lines = [head, [":--", *["--:"] * (len(head) - 1)]]
    for step in results[sizes[0]]:
        rows = {size: results[size][step] for size in sizes if step in results[size]}
        cells = [f"{row['seconds']:,.1f}, {row['peak_mib']:,}" for row in rows.values()]
        ratios = [
            f"{growth(rows[one]['cpu_seconds'], rows[two]['cpu_seconds'], one, two):.2f}"
            for one, two in pairwise(rows)
        ]
        lines.append([step, *cells, *ratios])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def summary(results: dict[int, dict[str, dict[str, Any]]], model: str) -> dict[str, Any]:
    from retrieval_sets import machine

    largest = max(results)
    rows = results[largest].values()
    worst = [
        growth(results[one][step]["cpu_seconds"], results[two][step]["cpu_seconds"], one, two)
        for one, two in pairwise(sorted(results))
        for step in results[two]
    ]
    return {
        "benchmark": "pipeline_scale",
        "ours": round(sum(row["seconds"] for row in rows), 1),
        "peer": None,
        "ratio": None,
        "unit": f"s for {largest:,} chunks",
        "peak_mib": max(row["peak_mib"] for row in rows),
        "worst_growth": round(max(worst), 2) if worst else None,
        "model": model,
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "machine": machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--chunks", type=int, nargs="+", default=[10_000, 30_000])
    parser.add_argument("--model", choices=["static", "tiny"], default="tiny")
    parser.add_argument(
        "--folder", type=Path, help="where files and results stay; a temporary folder without it"
    )
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS))
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        measure(options.step, options.folder, options.chunks[0], options.model)
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = (options.folder or Path(temporary)).resolve()
        results = {
            size: measured(root / options.model / str(size), size, options.model, options.steps)
            for size in sorted(options.chunks)
        }
    print(table(results))
    print(json.dumps(summary(results, options.model)))


if __name__ == "__main__":
    main()
