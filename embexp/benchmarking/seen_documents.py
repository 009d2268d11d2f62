"""Questions about documents that training has seen, scored apart from those about other documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from embexp.benchmarking.metrics import Scores
from embexp.benchmarking.statistics.comparison import Comparison, compare
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.data.leaks import QUERY_SHINGLE
from embexp.data.near_duplicates import near_duplicates
from embexp.data.records import Chunk, Pair
from embexp.data.splitting import Splits, SplitSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionGroup:
    """Some of the questions of a benchmark.

    Attributes:
        queries: How many there are.
        clusters: From how many source documents.
        scores: System -> metric -> the mean over these questions.
        comparison: Tuned minus untuned on these questions; None without a tuned model.
    """

    queries: int
    clusters: int
    scores: Mapping[str, Mapping[str, float]]
    comparison: Comparison | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestions:
    """Which questions the verdict rests on, and how many ask about documents that training has seen.

    A document is seen if a training pair comes from it; a question asks about each document that is judged
    relevant for it.

    Attributes:
        benchmark: The name of the benchmark.
        total: How many questions it asks.
        held_out: Whether they are those of the test split.
        seen: Those that ask about a seen document; None where there is none.
        unseen: The others; None where there is none.
        trained_on: How many of the questions equal or nearly equal the question of a training pair.
        kinds: Kind (``human``, ``summary``, ``sentence`` …) -> how many questions are of it.
    """

    benchmark: str
    total: int
    held_out: bool
    seen: QuestionGroup | None = None
    unseen: QuestionGroup | None = None
    trained_on: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)


def asked_questions(
    task: RetrievalTask,
    chunks: Sequence[Chunk],
    splits: Splits,
    scores: Mapping[str, Scores],
    *,
    models: tuple[str, str],
    metric: str,
    seed: int = 0,
) -> AskedQuestions:
    """Divide the questions of a task by whether training has seen what they ask about, and score both kinds.

    Args:
        task: The task, with its judgments.
        chunks: The run's corpus. Documents of a benchmark with another corpus are unseen, whatever their ids.
        splits: The training pairs, and the test pairs.
        scores: System -> scores on all questions.
        models: The names of the untuned and the tuned system; where one was not scored, nothing is compared.
        metric: The metric to compare.
        seed: Seeds the bootstrap.
    """
    known = _known_units(task, chunks, splits.train)
    seen = {
        query.id
        for query in task.queries
        if any(grade > 0 and unit in known for unit, grade in task.qrels.get(query.id, {}).items())
    }
    groups = [
        _group(
            [query for query in task.queries if (query.id in seen) is inside],
            scores,
            models=models,
            metric=metric,
            seed=seed,
        )
        for inside in (True, False)
    ]
    held_out = {query.id for query in task.queries} <= {pair.query_key for pair in splits.test}
    return AskedQuestions(
        benchmark=task.name,
        total=len(task.queries),
        held_out=held_out,
        seen=groups[0],
        unseen=groups[1],
        trained_on=0 if held_out else _trained_on(task, splits.train),
        kinds=dict(Counter(query.query_type for query in task.queries).most_common()),
    )


def _trained_on(task: RetrievalTask, train: Sequence[Pair]) -> int:
    """Return how many questions training asks, too; the leak audit has removed those of the test split."""
    same = near_duplicates(
        (query.text for query in task.queries),
        (pair.query for pair in train),
        threshold=SplitSettings().near_duplicate_queries,
        width=QUERY_SHINGLE,
        what="questions",
    )
    return sum(query.text in same for query in task.queries)


def _known_units(task: RetrievalTask, chunks: Sequence[Chunk], train: Sequence[Pair]) -> set[str]:
    """Return the units of the task that belong to documents of the training pairs."""
    trained, own = {pair.document_id for pair in train}, {chunk.id for chunk in chunks}
    return {task.unit_of(chunk) for chunk in task.corpus if chunk.document_id in trained and chunk.id in own}


def _group(
    queries: Collection[Query],
    scores: Mapping[str, Scores],
    *,
    models: tuple[str, str],
    metric: str,
    seed: int,
) -> QuestionGroup | None:
    if not queries:
        return None
    parts = {name: _part(system, queries) for name, system in scores.items()}
    clusters = {query.id: query.cluster for query in queries}
    comparison = None
    if all(name in parts for name in models):
        before, after = (parts[name] for name in models)
        comparison = compare(before, after, metric=metric, clusters=clusters, seed=seed)
    return QuestionGroup(
        queries=len(queries),
        clusters=len(set(clusters.values())),
        scores={name: part.mean for name, part in parts.items()},
        comparison=comparison,
    )


def _part(scores: Scores, queries: Collection[Query]) -> Scores:
    """Return the scores of some of the questions, with their means."""
    per_query = {query.id: scores.per_query[query.id] for query in queries}
    mean = {
        metric: sum(values[metric] for values in per_query.values()) / len(per_query)
        for metric in scores.mean
    }
    return Scores(scores.system, mean, per_query)
