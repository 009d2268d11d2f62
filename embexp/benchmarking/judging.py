"""Relevance judgments by a language model: the first hits of all systems, graded question by question."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from embexp.benchmarking.task import RetrievalTask
from embexp.errors import ConfigError, DataError
from embexp.llm.llm import LLM, LLMSource
from embexp.retrieval.index import Hit
from embexp.synthesis.grading import Grader, GradeRequest, Item
from embexp.synthesis.prompts import Prompts, printable
from embexp.user_code import identity

log = logging.getLogger(__name__)


_BYTES_PER_TOKEN = 4
_TOKENS_PER_GRADE = 14
_HIGHEST = 3


@dataclass(frozen=True, slots=True)
class Judging:
    """What a language model judged: ``pairs`` of question and passage, of which ``unreadable`` got no grade.

    ``left_out`` counts the questions without a relevant passage; ``depth`` is the number of hits per system.
    """

    model: str
    pairs: int
    unreadable: int
    left_out: int
    depth: int


def judge(
    task: RetrievalTask,
    rankings: Mapping[str, Mapping[str, Sequence[Hit]]],
    *,
    source: LLMSource | None,
    llm: AbstractContextManager[LLM | None],
) -> tuple[RetrievalTask, Judging]:
    """Have a language model grade the pooled hits from 0 to 3, and return the task with these judgments.

    What is not in the pool counts as not relevant, as in TREC's pooled collections; so does a passage
    without a readable grade. A question without a relevant passage is left out.

    Args:
        task: A task with a ``judge_depth`` and without judgments.
        rankings: System -> query id -> its hits.
        source: The configured language model, for the estimate.
        llm: Opens it; its journal keeps every answer, so that no request is paid for twice.

    Raises:
        ConfigError: There is no language model, or one that only completes text.
        DataError: No passage is relevant to any question.
    """
    pools = _pools(task, rankings)
    requests = _requests(task, pools)
    pairs = sum(map(len, pools.values()))
    _announce(source, requests, pairs)
    with llm as model:
        if model is None or not model.chat:
            raise ConfigError(
                f"benchmark={task.name} has a language model judge what is found, and "
                f"{'llm is not set' if model is None else model.name + ' only completes text'}: choose one "
                "that chats, as in llm=groq, or name relevant ids in the file."
            )
        qrels = _graded(model, requests, pools)
        name = model.name
    judged = _with_judgments(task, qrels)
    if not judged.queries:
        raise DataError(
            f"{name} found no passage that answers any of the {len(task.queries):,} questions: ask about "
            "what the documents hold, or raise benchmark.judge_depth."
        )
    unreadable = pairs - sum(map(len, qrels.values()))
    left_out = len(task.queries) - len(judged.queries)
    return judged, Judging(name, pairs, unreadable, left_out, task.judge_depth or 0)


def judging_inputs(task: RetrievalTask, source: LLMSource | None) -> list[str | None]:
    """Return what shapes the judgments beside the task, for a cache key; nothing where they are given."""
    if task.judge_depth is None:
        return []
    return [Prompts().fingerprint(), identity(source) if source else None]


def _pools(task: RetrievalTask, rankings: Mapping[str, Mapping[str, Sequence[Hit]]]) -> dict[str, list[str]]:
    """Return, for each question, the ids among the first ``judge_depth`` hits of any system, sorted.

    Sorted ids hide from the judge which system found a passage, and at what rank.
    """
    return {
        query.id: sorted(
            {hit.id for ranking in rankings.values() for hit in ranking[query.id][: task.judge_depth]}
        )
        for query in task.queries
    }


def _requests(task: RetrievalTask, pools: Mapping[str, Sequence[str]]) -> list[GradeRequest]:
    """Return the requests of all questions, in order."""
    grader = Grader(template="relevance", items_per_request=10, max_tokens=1024, prompts=Prompts())
    passages = {chunk.id: chunk.passage for chunk in task.corpus}
    requests: list[GradeRequest] = []
    for query in task.queries:
        items = [Item(passages[name]) for name in pools[query.id]]
        requests += grader.requests(items, query=printable(query.text))
    return requests


def _announce(source: LLMSource | None, requests: Sequence[GradeRequest], pairs: int) -> None:
    """Log the requests and their cost before any is sent."""
    log.info(
        "%s requests will judge %s passages; recorded answers are free.", f"{len(requests):,}", f"{pairs:,}"
    )
    if source is None or not requests:
        return
    size = sum(len(turn.content.encode()) for each in requests for turn in each.request.messages)
    estimate = source.estimate(
        requests=len(requests),
        prompt_tokens=round(size / _BYTES_PER_TOKEN / len(requests)),
        completion_tokens=round(_TOKENS_PER_GRADE * pairs / len(requests)),
    )
    for line in estimate.lines():
        log.info("judging: %s", line)


def _graded(
    llm: LLM, requests: Sequence[GradeRequest], pools: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, int]]:
    """Return query id -> unit id -> grade, without the units that got no readable grade."""
    grades = [grade for row, _ in Grader.grade(llm, requests) for grade in row]
    names = ((query, name) for query, pool in pools.items() for name in pool)
    qrels: dict[str, dict[str, int]] = {query: {} for query in pools}
    for (query, name), grade in zip(names, grades, strict=True):
        if grade is not None and 0 <= grade <= _HIGHEST:
            qrels[query][name] = grade
    return qrels


def _with_judgments(task: RetrievalTask, qrels: Mapping[str, Mapping[str, int]]) -> RetrievalTask:
    """Return the task with its judgments; a question belongs to the document of its best passage."""
    owners = {chunk.id: chunk.document_id for chunk in task.corpus}
    queries = []
    for query in task.queries:
        grades = qrels[query.id]
        best = max(grades, key=lambda name: grades[name], default=None)
        if best is not None and grades[best] > 0:
            queries.append(replace(query, cluster=owners[best]))
    kept = {query.id: qrels[query.id] for query in queries}
    return replace(task, queries=queries, qrels=kept, judge_depth=None)
