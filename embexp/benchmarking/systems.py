"""Search systems on one task: the models, BM25 and what is made of them, with their rankings and costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from embexp.benchmarking.benchmark import Benchmark
from embexp.benchmarking.compact import CompactEmbedder
from embexp.benchmarking.float32_order import CUTOFF, order_as_float32
from embexp.benchmarking.metrics import DEFAULT_METRICS, MAX_CUTOFF, Rankings, Scores, evaluate, retrieve
from embexp.benchmarking.retriever_choice import RetrieverChoice
from embexp.benchmarking.task import RetrievalTask
from embexp.models.cross_encoder import CrossEncoderScorer
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import Embedder, SourceEmbedder
from embexp.models.sources import ModelSource
from embexp.retrieval.bm25 import Bm25Index, Bm25Retriever
from embexp.retrieval.exact import ExactRetriever
from embexp.retrieval.hybrid import DEFAULT_WEIGHT, HybridIndex
from embexp.retrieval.index import DenseIndex, Hit, Index
from embexp.retrieval.parts import PartsIndex, PartsRetriever
from embexp.user_code import identity

T = TypeVar("T")
UNTUNED, TUNED, BM25, HYBRID, RETRIEVER = "untuned", "tuned", "bm25", "hybrid", "retriever"
OWN_SYSTEMS = (UNTUNED, TUNED, BM25, HYBRID, RETRIEVER)
"""The systems of every run; further ones are named after their model, or begin with one of these names."""
DEPTH = MAX_CUTOFF


@dataclass(frozen=True, slots=True)
class SystemCost:
    """What a system costs.

    Attributes:
        embed_seconds: Embedding the corpus and building the index. Vectors from the cache count with the
            seconds that encoding them took.
        query_seconds: One question, as the mean over all of them searched in batches.
        index_bytes: The size of the index.
        dimension: Numbers per vector; None where there are no vectors (bm25).
        cached: Whether vectors came from the cache.
    """

    embed_seconds: float
    query_seconds: float
    index_bytes: int
    dimension: int | None = None
    cached: bool = False


@dataclass(frozen=True)
class SystemResult:
    """A system's rankings, and what they cost."""

    rankings: Rankings
    cost: SystemCost


def score_embedder(
    task: RetrievalTask,
    embedder: Embedder,
    *,
    system: str,
    folder: Path,
    metrics: Sequence[str] = DEFAULT_METRICS,
    cutoff: int = CUTOFF,
) -> Scores:
    """Index a task's corpus, search its questions exactly, and evaluate the rankings.

    Where a ``SourceEmbedder`` mixes precision, what decides is encoded in float32.

    Args:
        task: The task.
        embedder: The model to score.
        system: The system's name in the scores.
        folder: Where an index may keep files.
        metrics: Names like ``ndcg@10``.
        cutoff: The last rank whose order float32 decides.
    """
    if isinstance(embedder, SourceEmbedder):
        order_as_float32(task, embedder, folder, cutoff=cutoff)
    index = ExactRetriever().index(task.corpus, embedder, path=folder)
    return evaluate(task, retrieve(task, index, k=DEPTH), system=system, metrics=metrics)


def reranked(model: str) -> str:
    """Return the name of the system that reranks the first hits of ``untuned`` or ``tuned``."""
    return f"{model} reranked"


def _further_models(benchmark: Benchmark) -> dict[str, ModelSource]:
    """Return the models that the benchmark adds, each under a distinct name."""
    named: dict[str, ModelSource] = {}
    for source in benchmark.models:
        taken = [name for name in (*OWN_SYSTEMS, *named) if name.partition(" #")[0] == source.name]
        named[f"{source.name} #{len(taken) + 1}" if taken else source.name] = source
    return named


def further_fingerprints(benchmark: Benchmark) -> list[str]:
    """Return the digests of the further models and of the reranker, for a stage's key."""
    digests = [identity(source) for source in benchmark.models]
    if benchmark.reranker:
        digests += ["after each model", CrossEncoderScorer(model=benchmark.reranker).fingerprint()]
    return digests


def search_systems(
    task: RetrievalTask,
    benchmark: Benchmark,
    embedders: Mapping[str, SourceEmbedder],
    cache: EmbeddingCache,
    folder: Path,
    *,
    lengths: Sequence[int] = (),
    retriever: RetrieverChoice | None = None,
    words: Bm25Retriever | None = None,
    translations: Path | None = None,
    cutoff: int = CUTOFF,
) -> dict[str, SystemResult]:
    """Search a task with every system; models are searched exactly.

    Args:
        task: The task.
        benchmark: Names the systems beside the usual ones.
        embedders: The untuned and, where there is one, the tuned model; the last counts as the best.
        cache: Where vectors and scores are kept.
        folder: Where an index may keep files.
        lengths: Vector lengths that the last model was trained for, which become systems of their own.
        retriever: The retriever to serve, ``retriever`` in the result; None stands for the hybrid.
        words: BM25 as it is configured; None for its defaults.
        translations: The file of word translations, which that retriever may use.
        cutoff: The last rank whose order float32 decides where models mix precision.

    Returns:
        System -> result, in the order of the tables.
    """
    results = {
        name: _search_exactly(task, embedder, folder, cutoff=cutoff) for name, embedder in embedders.items()
    }
    best, words = list(embedders)[-1], words or Bm25Retriever()
    for name, source in _further_models(benchmark).items():
        embedder = SourceEmbedder(source, cache, bf16=True)
        results[name] = _search_exactly(task, embedder, folder, cutoff=cutoff)
    bm25, built = _timed(lambda: words.index(task.corpus, path=folder))
    results[BM25] = _search_bm25(task, bm25, built)
    exact = ExactRetriever().index(task.corpus, embedders[best], path=folder)
    results[HYBRID] = _search_hybrid(task, embedders[best], results[best], exact, bm25, results[BM25])
    results[RETRIEVER] = results[HYBRID]
    if retriever is not None:
        results[RETRIEVER] = _search_chosen(
            task,
            retriever,
            embedders,
            results,
            bm25,
            folder,
            translated=replace(words, translations=str(translations)) if retriever.translated else None,
        )
    shorter = [f"dimensions={length}" for length in lengths if length < (results[best].cost.dimension or 0)]
    for form in dict.fromkeys([*benchmark.systems, *shorter]):
        compact = _search_exactly(task, embedders[best], folder, form=form)
        cost = replace(compact.cost, cached=results[best].cost.cached)
        results[f"{best} {form}"] = replace(compact, cost=cost)
    if benchmark.reranker:
        reranker = CrossEncoderScorer(model=benchmark.reranker)
        for name, embedder in embedders.items():
            index = ExactRetriever().index(task.corpus, embedder, path=folder)
            passages = first_passages(task, index, k=benchmark.rerank_depth)
            results[reranked(name)] = _reranked(task, results[name], passages, reranker, cache)
    return results


def _search_exactly(
    task: RetrievalTask,
    embedder: SourceEmbedder,
    folder: Path,
    *,
    form: str | None = None,
    cutoff: int = CUTOFF,
) -> SystemResult:
    """Search with a model, with its vectors whole or in a smaller form, and measure each part.

    Vectors from the cache count with the seconds that encoding them took; the search is timed now. What is
    encoded once more in float32, so that scores are those of float32, is no cost of the system.
    """
    known, encoded = embedder.known, dict(embedder.seconds)
    embedder.encode_queries([query.text for query in task.queries])
    asked = embedder.seconds["query"] - encoded["query"]
    used = CompactEmbedder(embedder, form) if form else embedder
    index, built = _timed(lambda: ExactRetriever().index(task.corpus, used, path=folder), embedder)
    cached = embedder.known > known
    rankings, searched = _timed(lambda: retrieve(task, index, k=DEPTH), embedder)
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
    if form is None and order_as_float32(task, embedder, folder, cutoff=cutoff):
        rankings = retrieve(task, ExactRetriever().index(task.corpus, embedder, path=folder), k=DEPTH)
    return SystemResult(rankings, cost)


def _timed(work: Callable[[], T], embedder: SourceEmbedder | None = None) -> tuple[T, float]:
    """Return the result of ``work``, and its wall seconds without those that embedding took."""
    start, before = time.monotonic(), embedder.wall if embedder else 0.0
    result = work()
    embedding = embedder.wall - before if embedder else 0.0
    return result, time.monotonic() - start - embedding


def _search_bm25(task: RetrievalTask, index: Bm25Index, build_seconds: float) -> SystemResult:
    rankings, searched = _timed(lambda: retrieve(task, index, k=DEPTH))
    return SystemResult(rankings, SystemCost(build_seconds, searched / len(task.queries), index.nbytes))


def _search_hybrid(
    task: RetrievalTask,
    embedder: SourceEmbedder,
    dense: SystemResult,
    dense_index: DenseIndex,
    sparse_index: Bm25Index,
    sparse: SystemResult,
    *,
    weight: float = DEFAULT_WEIGHT,
) -> SystemResult:
    """Search with a model and BM25, fused as ``HybridRetriever`` does.

    Its costs are those of both parts and of fusing them.
    """
    index = HybridIndex(dense_index, sparse_index, embedder, weight=weight, depth=DEPTH)
    rankings, seconds = _timed(lambda: retrieve(task, index, k=DEPTH), embedder)
    cost = SystemCost(
        embed_seconds=dense.cost.embed_seconds + sparse.cost.embed_seconds,
        query_seconds=dense.cost.query_seconds + seconds / len(task.queries),
        index_bytes=dense.cost.index_bytes + sparse.cost.index_bytes,
        dimension=dense.cost.dimension,
        cached=dense.cost.cached,
    )
    return SystemResult(rankings, cost)


def _search_chosen(
    task: RetrievalTask,
    choice: RetrieverChoice,
    embedders: Mapping[str, SourceEmbedder],
    results: Mapping[str, SystemResult],
    bm25: Bm25Index,
    folder: Path,
    *,
    translated: Bm25Retriever | None,
) -> SystemResult:
    """Search with the retriever to serve, or return the result of the system that it is."""
    best = list(embedders)[-1]
    dense, sparse = results[choice.model], results[BM25]
    embedder = embedders[choice.model]
    if choice.part_words is None:
        if not choice.weight:
            return dense
        if (choice.model, choice.weight, choice.translated) == (best, DEFAULT_WEIGHT, False):
            return results[HYBRID]
        index: DenseIndex = ExactRetriever().index(task.corpus, embedder, path=folder)
    else:
        index, cost = _index_parts(task, choice, embedder, dense.cost, folder)
        dense = replace(dense, cost=cost)
        if not choice.weight:
            rankings, searched = _timed(lambda: retrieve(task, index, k=DEPTH), embedder)
            query_seconds = cost.query_seconds + searched / len(task.queries)
            return SystemResult(rankings, replace(cost, query_seconds=query_seconds))
    if translated:
        bm25, built = _timed(lambda: translated.index(task.corpus, path=folder))
        sparse = replace(sparse, cost=replace(sparse.cost, embed_seconds=built))
    return _search_hybrid(task, embedder, dense, index, bm25, sparse, weight=choice.weight)


def _index_parts(
    task: RetrievalTask, choice: RetrieverChoice, embedder: SourceEmbedder, whole: SystemCost, folder: Path
) -> tuple[PartsIndex, SystemCost]:
    """Index passages and their parts; return what passages and parts cost, searching parts excepted.

    Args:
        task: The task.
        choice: The retriever to serve, which has parts.
        embedder: Its model.
        whole: What the passages alone cost.
        folder: Where an index may keep files.
    """
    assert choice.part_words is not None
    assert choice.part_share is not None
    retriever = PartsRetriever(dense=ExactRetriever(), words=choice.part_words, share=choice.part_share)
    encoded = embedder.seconds["passage"]
    index, built = _timed(lambda: retriever.index(task.corpus, embedder, path=folder), embedder)
    encoding = embedder.seconds["passage"] - encoded
    size = whole.index_bytes + index.parts * (whole.dimension or 0) * 4
    return index, replace(whole, embed_seconds=encoding + built, index_bytes=size)


def _reranked(
    task: RetrievalTask,
    base: SystemResult,
    passages: Rankings,
    reranker: CrossEncoderScorer,
    cache: EmbeddingCache,
) -> SystemResult:
    """Order each question's first passages by the cross-encoder's scores; the rest keeps its order."""
    scored = reranker.scores(texts_of(task, passages), cache)
    rankings = {
        query: _first_of_each([*units, *_below(units, base.rankings[query])])[:DEPTH]
        for query, units in ordered_by(task, passages, scored.vectors[:, 0].tolist()).items()
    }
    query_seconds = base.cost.query_seconds + scored.seconds / len(task.queries)
    cost = replace(base.cost, query_seconds=query_seconds, cached=base.cost.cached or scored.known > 0)
    return SystemResult(rankings, cost)


def first_passages(task: RetrievalTask, index: Index, *, k: int) -> Rankings:
    """Return each question's first ``k`` chunks, whatever the task judges."""
    return retrieve(replace(task, unit="chunk", own={}, copies={}), index, k=k)


def texts_of(task: RetrievalTask, passages: Rankings) -> list[tuple[str, str]]:
    """Return (question, passage) of every hit on a chunk, question by question."""
    chunks = {chunk.id: chunk.passage for chunk in task.corpus}
    texts = {query.id: query.text for query in task.queries}
    return [(texts[query], chunks[hit.id]) for query, hits in passages.items() for hit in hits]


def ordered_by(task: RetrievalTask, passages: Rankings, scores: Iterable[float]) -> dict[str, list[Hit]]:
    """Return the units that a task judges, in the order of the scores of their passages.

    Where documents are judged, a document has the rank of its best passage.

    Args:
        task: The task.
        passages: Query id -> hits on chunks.
        scores: A score for each hit, in the order of ``texts_of``.
    """
    chunks, drawn = {chunk.id: chunk for chunk in task.corpus}, iter(scores)
    rankings = {}
    for query, hits in passages.items():
        best = sorted((Hit(hit.id, next(drawn)) for hit in hits), key=lambda hit: (-hit.score, hit.id))
        units = [Hit(task.unit_of(chunks[hit.id]), hit.score) for hit in best]
        rankings[query] = _first_of_each([hit for hit in units if hit.id not in task.own.get(query, ())])
    return rankings


def _below(read: Sequence[Hit], hits: Sequence[Hit]) -> list[Hit]:
    """Return hits with scores below all that were read, so that scores keep falling."""
    least = min((hit.score for hit in read), default=0.0)
    return [Hit(hit.id, least - rank) for rank, hit in enumerate(hits, start=1)]


def _first_of_each(hits: Sequence[Hit]) -> list[Hit]:
    first: dict[str, Hit] = {}
    for hit in hits:
        first.setdefault(hit.id, hit)
    return list(first.values())
