"""What each format of ``embexp.export`` gains in speed and loses in quality, for MiniLM and a tuned MiniLM.

    python benchmarks/export.py

Trains MiniLM on a few hundred pairs, exports both models to every format, and asks both the same held-out
questions. Throughput: passages in batches, the systems in turn, the median of the rounds' ratios. Latency:
every question alone, the systems in turn. Every ratio is the format's speed over torch's in float32 on as
many threads; a deviation is the largest 1 - cos between the two vectors of a text. The last line says whether
int8 reaches 1.5 times the throughput of float32 with a loss of nDCG whose interval excludes -0.01.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from retrieval_sets import SETS, RetrievalSet, latencies, load, machine, model_source, plain_training

from embexp.benchmarking.statistics.comparison import Comparison, compare
from embexp.benchmarking.systems import score_embedder
from embexp.exporting import OnnxEmbedder, OnnxExport, OpenvinoEmbedder, OpenvinoExport, StaticExport
from embexp.exporting.formats import ExportFormat
from embexp.models.encoder import Embedder, ModelEmbedder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

SEED, METRIC, TORCH = 0, "ndcg@10", "torch"
FORMATS: tuple[ExportFormat, ...] = (
    OnnxExport(),
    OnnxExport(int8=True),
    OpenvinoExport(),
    StaticExport(),
)
WANTED_SPEED, MOST_LOSS = 1.5, 0.01


@dataclass(frozen=True)
class Result:
    """What a system reaches beside torch in float32."""

    score: float
    comparison: Comparison | None
    deviation: float | None
    megabytes: float
    throughput: float
    times_torch: float
    p50: float
    p99: float


def systems(model: SentenceTransformer, folder: Path, threads: int) -> dict[str, tuple[Embedder, Path]]:
    """Export a model to every format; return what encodes with each, and its folder."""
    folder.mkdir()
    model.save(str(folder / TORCH), create_model_card=False)
    found: dict[str, tuple[Embedder, Path]] = {
        TORCH: (ModelEmbedder(model, fingerprint=TORCH), folder / TORCH)
    }
    for kind in FORMATS:
        target = folder / kind.name
        target.mkdir()
        kind.write(model, target)
        found[kind.name] = (embedder(kind, target, threads), target)
    return found


def embedder(kind: ExportFormat, folder: Path, threads: int) -> Embedder:
    """Return what encodes with an export, on as many threads as torch."""
    if isinstance(kind, OnnxExport):
        return OnnxEmbedder(folder, threads=threads)
    if isinstance(kind, OpenvinoExport):
        return OpenvinoEmbedder(folder, threads=threads)
    return kind.load(folder)


def measure(
    data: RetrievalSet, found: Mapping[str, tuple[Embedder, Path]], options: Any, work: Path
) -> dict[str, Result]:
    """Score every system, and time them in turn."""
    task = data.test_task
    embedders = {name: embedder for name, (embedder, _) in found.items()}
    scores = {
        name: score_embedder(task, embedder, system=name, folder=work) for name, embedder in embedders.items()
    }
    passages = [chunk.passage for chunk in task.corpus[: options.texts]]
    questions = [query.text for query in task.queries]
    batches = in_turn(embedders, lambda embedder: embedder.encode_passages(passages), options.rounds)
    asks = {name: lambda text, it=each: it.encode_queries([text]) for name, each in embedders.items()}  # type: ignore[misc]
    singles = latencies(asks, questions[: options.singles])
    reference = embedders[TORCH].encode_passages(passages)
    results = {}
    for name, (embedder, folder) in found.items():
        cosines = (reference * embedder.encode_passages(passages)).sum(axis=1) if name != "static" else None
        ratios = [ours / theirs for ours, theirs in zip(batches[TORCH], batches[name], strict=True)]
        cuts = quantiles(singles[name], n=100)
        results[name] = Result(
            score=scores[name].mean[METRIC],
            comparison=None
            if name == TORCH
            else compare(scores[TORCH], scores[name], metric=METRIC, clusters=task.clusters, seed=SEED),
            deviation=None if cosines is None else max(0.0, 1 - float(cosines.min())),
            megabytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6,
            throughput=len(passages) / median(batches[name]),
            times_torch=median(ratios),
            p50=1000 * cuts[49],
            p99=1000 * cuts[98],
        )
    return results


def in_turn(
    embedders: Mapping[str, Embedder], work: Callable[[Embedder], object], rounds: int
) -> dict[str, list[float]]:
    """Return the seconds that each system takes in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in embedders}
    for _ in range(rounds):
        for name, embedder in embedders.items():
            start = time.perf_counter()
            work(embedder)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def row(name: str, result: Result, torch_: Result) -> str:
    deviation = "" if result.deviation is None else f"{result.deviation:.1e}"
    change = ""
    if result.comparison is not None:
        low, high = result.comparison.interval
        change = f"{result.comparison.delta:+.4f} ({low:+.4f} … {high:+.4f})"
    speed = f"{result.throughput:9.1f} texts/s {result.times_torch:7.2f}x"
    latency = "  ".join(
        f"{quantile} {own:7.2f} ms {theirs / own:6.2f}x"
        for quantile, own, theirs in (("p50", result.p50, torch_.p50), ("p99", result.p99, torch_.p99))
    )
    quality = f"{deviation:>8}  nDCG@10 {result.score:.4f} {change}"
    return f"{name:<10} {result.megabytes:6.1f} MB {speed} {latency} {quality}".rstrip()


def target(results: Mapping[str, Result]) -> dict[str, object]:
    """Return whether int8 reaches what is asked of it, and by how much."""
    int8 = results["onnx_int8"]
    assert int8.comparison is not None
    fast, low = int8.times_torch >= WANTED_SPEED, int8.comparison.interval[0]
    return {
        "int8_times_torch": round(int8.times_torch, 2),
        "int8_times_onnx": round(int8.throughput / results["onnx"].throughput, 2),
        "int8_interval": [round(value, 4) for value in int8.comparison.interval],
        "reached": fast and low > -MOST_LOSS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=SETS / "tatqa", help="a set in the BEIR layout")
    parser.add_argument("--model", choices=["minilm", "tiny"], default="minilm")
    parser.add_argument("--pairs", type=int, default=320, help="pairs that the tuned model is trained on")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--texts", type=int, default=64, help="passages of a round of the throughput")
    parser.add_argument("--singles", type=int, default=150, help="questions that are asked alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    data = load(options.data, pairs=options.pairs, dev=0, test=options.questions, seed=SEED)
    found: dict[str, dict[str, Result]] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in (options.model, f"tuned {options.model}"):
            model = model_source(options.model).load()
            if name.startswith("tuned"):
                plain_training(model, data.train, work / "training", batch=32, seed=SEED)
            found[name] = measure(data, systems(model, work / name, options.threads), options, work / name)
            print(f"\n{name}, {len(data.test_task.queries)} questions, {options.threads} threads")
            for system, result in found[name].items():
                print(row(system, result, found[name][TORCH]), flush=True)
    ratios = {
        name: {system: round(each.times_torch, 2) for system, each in results.items()}
        for name, results in found.items()
    }
    first = found[options.model]
    print(
        json.dumps(
            {
                "benchmark": "export",
                "ours": round(first["onnx_int8"].throughput, 1),
                "peer": round(first[TORCH].throughput, 1),
                "ratio": round(first["onnx_int8"].times_torch, 2),
                "unit": "texts/s, int8 beside torch",
                "times_torch": ratios,
                "target": {name: target(results) for name, results in found.items()},
                "threads": options.threads,
                "machine": machine(),
            }
        )
    )


if __name__ == "__main__":
    main()
