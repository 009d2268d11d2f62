"""Retrieval tasks, what systems find, and how it scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from embexp.types.texts import Chunk

Unit = Literal["document", "chunk"]
Qrels = Mapping[str, Mapping[str, int]]
"""Relevance judgments: query id -> unit id -> grade (1 or more is relevant)."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved chunk and its score; a higher score is a better match in every retriever."""

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Query:
    """A question of a benchmark; ``cluster`` is the source document that the bootstrap resamples by."""

    id: str
    text: str
    cluster: str
    query_type: str = "human"


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the user's own file, where it stands, and the grades of what answers it, if known."""

    id: str
    text: str
    where: str
    relevant: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """A corpus, its questions and their judgments; a task knows no scores.

    ``unit`` says what qrels judge: chunks, or the documents that the chunks belong to. With ``skip_own`` a
    unit with the question's own id is no hit of it. Where ``judge_depth`` is set there are no judgments yet:
    a language model is asked about each system's first ``judge_depth`` chunks.
    """

    name: str
    corpus: Sequence[Chunk]
    queries: Sequence[Query]
    qrels: Qrels
    unit: Unit
    skip_own: bool = False
    judge_depth: int | None = None


@dataclass(frozen=True, slots=True)
class Judging:
    """What a language model judged: ``pairs`` of question and passage, of which ``unreadable`` got no grade.

    ``left_out`` counts the questions that it found no answer to.
    """

    model: str
    pairs: int
    unreadable: int
    left_out: int
    depth: int


@dataclass(frozen=True, slots=True)
class Scores:
    """One system's metrics on one task: the means, and query id -> metric -> value behind them.

    Metric names are ``ndcg@10``, ``mrr@10``, ``accuracy@1`` and the like, all in [0, 1].
    """

    system: str
    mean: Mapping[str, float]
    per_query: Mapping[str, Mapping[str, float]]


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


@dataclass(frozen=True, slots=True)
class IndexReport:
    """How an approximate index compares with exact search over the same vectors."""

    retriever: str
    recall: float
    k: int
    build_seconds: float
    query_seconds: float
    exact_query_seconds: float
