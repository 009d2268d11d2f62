"""Every system on one task: what it finds, and what finding it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from embexp.benchmarking.benchmark import Benchmark
from embexp.benchmarking.compact import CompactEmbedder
from embexp.benchmarking.metrics import run_system
from embexp.benchmarking.task import RetrievalTask
from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.models.sources import ModelSource
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import fuse
from embexp.retrieval.index import Hit


@dataclass(frozen=True, slots=True)
class SystemCost:
    """What a system takes: seconds to embed (or index) the corpus, seconds a question, bytes of its index.

    ``query_seconds`` is the mean over all questions, asked in batches. ``dimension`` is None where there are
    no vectors (bm25). Vectors that came from the cache, as ``cached`` says, count with the seconds that
    making them took.
    """

    embed_seconds: float
    query_seconds: float
    index_bytes: int
    dimension: int | None = None
    cached: bool = False


Rankings = Mapping[str, Sequence[Hit]]
T = TypeVar("T")
DEPTH = 100
OWN_NAMES = ("untuned", "tuned", "bm25", "hybrid")


@dataclass(frozen=True)
class Found:
    """What a system found for each question, and what it took."""

    rankings: Rankings
    cost: SystemCost


def further_models(benchmark: Benchmark) -> dict[str, ModelSource]:
    """Return the models that the benchmark asks for, each under a name of its own."""
    named: dict[str, ModelSource] = {}
    for source in getattr(benchmark, "models", ()):  # a benchmark of a user's own may lack them
        taken = [name for name in (*OWN_NAMES, *named) if name.partition(" #")[0] == source.name]
        named[f"{source.name} #{len(taken) + 1}" if taken else source.name] = source
    return named


def further_inputs(benchmark: Benchmark) -> list[str]:
    """Return the digests of the further models and of the reranker, for the cache's key."""
    prints = [source.fingerprint() for source in further_models(benchmark).values()]
    reranker = getattr(benchmark, "reranker", None)
    return [*prints, CrossEncoderScorer(model=reranker).fingerprint()] if reranker else prints


def search_systems(
    task: RetrievalTask,
    benchmark: Benchmark,
    embedders: Mapping[str, SourceEmbedder],
    cache: EmbeddingCache,
    folder: Path,
    *,
    lengths: Sequence[int] = (),
) -> dict[str, Found]:
    """Search with every system; exact search alone stands for the models.

    Args:
        task: The task.
        benchmark: Says which systems there are beside the usual ones.
        embedders: The untuned and, where there is one, the tuned model: the last is taken as the best.
        cache: Where vectors and scores are kept.
        folder: Where an index may keep files.
        lengths: Vector lengths that the last model was trained for, which are systems of their own.

    Returns:
        System to what it found, in the order of the tables.
    """
    found = {name: search_exactly(task, embedder, folder) for name, embedder in embedders.items()}
    last = list(embedders)[-1]
    for name, source in further_models(benchmark).items():
        found[name] = search_exactly(task, SourceEmbedder(source, cache), folder)
    found["bm25"] = _search_words(task, folder)
    found["hybrid"] = _fused(found[last], found["bm25"])
    shorter = [f"dimensions={length}" for length in lengths if length < (found[last].cost.dimension or 0)]
    for form in dict.fromkeys([*getattr(benchmark, "systems", ()), *shorter]):
        smaller = search_exactly(task, embedders[last], folder, form=form)
        cost = replace(smaller.cost, cached=found[last].cost.cached)
        found[f"{last} {form}"] = replace(smaller, cost=cost)
    if reranker := getattr(benchmark, "reranker", None):
        again = run_system(
            replace(task, unit="chunk"),
            ExactRetriever().index(task.corpus, embedders[last], path=folder),
            k=getattr(benchmark, "rerank_depth", DEPTH),
        )
        found[f"{last} reranked"] = _reranked(
            task, found[last], again, CrossEncoderScorer(model=reranker), cache
        )
    return found


def search_exactly(
    task: RetrievalTask, embedder: SourceEmbedder, folder: Path, *, form: str | None = None
) -> Found:
    """Search with a model, its vectors whole or in a smaller form, and measure each part.

    Vectors that come from the cache count with what making them took; the search itself is measured now.
    """
    known, encoded = embedder.known, dict(embedder.seconds)
    embedder.encode_queries([query.text for query in task.queries])
    asked = embedder.seconds["query"] - encoded["query"]
    used = CompactEmbedder(embedder, form) if form else embedder
    index, built = _timed(lambda: ExactRetriever().index(task.corpus, used, path=folder), embedder)
    cached = embedder.known > known
    rankings, searched = _timed(lambda: run_system(task, index, k=DEPTH), embedder)
    size = index.nbytes
    if isinstance(used, CompactEmbedder):
        size = len(task.corpus) * used.stored_bytes(index.dimension)
    cost = SystemCost(
        embed_seconds=embedder.seconds["passage"] - encoded["passage"] + built,
        query_seconds=(asked + searched) / len(task.queries),
        index_bytes=size,
        dimension=index.dimension,
        cached=cached,
    )
    return Found(rankings, cost)


def _timed(work: Callable[[], T], embedder: SourceEmbedder | None = None) -> tuple[T, float]:
    """Return what the work gave, and its wall seconds without those that went into embedding."""
    start, before = time.monotonic(), embedder.wall if embedder else 0.0
    result = work()
    embedding = embedder.wall - before if embedder else 0.0
    return result, time.monotonic() - start - embedding


def _search_words(task: RetrievalTask, folder: Path) -> Found:
    index, built = _timed(lambda: Bm25Retriever().index(task.corpus, path=folder))
    rankings, searched = _timed(lambda: run_system(task, index, k=DEPTH))
    return Found(rankings, SystemCost(built, searched / len(task.queries), index.nbytes))


def _fused(dense: Found, words: Found) -> Found:
    rankings, took = _timed(
        lambda: {
            query: fuse([dense.rankings[query], hits], k=DEPTH) for query, hits in words.rankings.items()
        }
    )
    cost = SystemCost(
        embed_seconds=dense.cost.embed_seconds + words.cost.embed_seconds,
        query_seconds=dense.cost.query_seconds + words.cost.query_seconds + took / len(rankings),
        index_bytes=dense.cost.index_bytes + words.cost.index_bytes,
        dimension=dense.cost.dimension,
        cached=dense.cost.cached,
    )
    return Found(rankings, cost)


def _reranked(
    task: RetrievalTask, base: Found, passages: Rankings, reranker: CrossEncoderScorer, cache: EmbeddingCache
) -> Found:
    """Put each question's first passages in the cross-encoder's order; the rest follows as it was.

    Where documents are judged, a document stands at the rank of its best passage.
    """
    chunks = {chunk.id: chunk for chunk in task.corpus}
    asked = {query.id: query.text for query in task.queries}
    pairs = [(asked[query], chunks[hit.id].passage) for query, hits in passages.items() for hit in hits]
    scored = reranker.scores(pairs, cache)
    scores: Iterator[float] = iter(scored.vectors[:, 0].tolist())
    rankings = {}
    for query, hits in passages.items():
        best = sorted((Hit(hit.id, next(scores)) for hit in hits), key=lambda hit: (-hit.score, hit.id))
        units = [
            Hit(chunks[hit.id].document_id if task.unit == "document" else hit.id, hit.score) for hit in best
        ]
        units = [hit for hit in units if not (task.skip_own and hit.id == query)]
        rankings[query] = _first_of_each([*units, *_behind(units, base.rankings[query])])[:DEPTH]
    query_seconds = base.cost.query_seconds + scored.seconds / len(task.queries)
    cost = replace(base.cost, query_seconds=query_seconds, cached=base.cost.cached or scored.known > 0)
    return Found(rankings, cost)


def _behind(read: Sequence[Hit], hits: Sequence[Hit]) -> list[Hit]:
    """Return hits with scores below all that were read, so that scores go on falling."""
    least = min((hit.score for hit in read), default=0.0)
    return [Hit(hit.id, least - rank) for rank, hit in enumerate(hits, start=1)]


def _first_of_each(hits: Sequence[Hit]) -> list[Hit]:
    first: dict[str, Hit] = {}
    for hit in hits:
        first.setdefault(hit.id, hit)
    return list(first.values())
