"""Judgments by a language model: what all systems find first, graded question by question."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from embexp.benchmarking.judging import Judging
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.errors import ConfigError, DataError
from embexp.llm.llm import LLM, Request
from embexp.pipeline.experiment import Experiment
from embexp.pipeline.synthesize import language_model
from embexp.progress import track
from embexp.retrieval.index import Hit
from embexp.storage.files import sha256_of
from embexp.synthesis.answers import INTEGER, by_number, field_problem, list_schema, object_schema, read_items
from embexp.synthesis.prompts import Prompts, printable, shorten

log = logging.getLogger(__name__)


ITEMS = 10
"""Passages that one request asks about."""
CHARACTERS = 2500
BYTES_PER_TOKEN = 4
TOKENS_PER_GRADE = 14
MOST_TOKENS = 1024
HIGHEST = 3
SCHEMA = list_schema("grades", object_schema(number=INTEGER, grade=INTEGER))


@dataclass(frozen=True)
class Asked:
    """One request: some of the pooled passages of one question."""

    query: Query
    names: Sequence[str]
    request: Request


def pool(task: RetrievalTask, rankings: Mapping[str, Mapping[str, Sequence[Hit]]]) -> dict[str, list[str]]:
    """Return, for each question, the ids that any system has among its first ``judge_depth``, sorted.

    Sorted ids hide from the judge which system found what, and how high.
    """
    return {
        query.id: sorted(
            {hit.id for found in rankings.values() for hit in found[query.id][: task.judge_depth]}
        )
        for query in task.queries
    }


def judge(
    experiment: Experiment, task: RetrievalTask, rankings: Mapping[str, Mapping[str, Sequence[Hit]]]
) -> tuple[RetrievalTask, Judging]:
    """Have the language model grade the pool from 0 to 3, and return the task with these judgments.

    What is not in the pool counts as not relevant, as in TREC's pooled collections; so does a passage
    without a readable grade. A question without a relevant passage is left out. Answers go through the
    journal: none is paid for twice.

    Raises:
        ConfigError: There is no language model, or one that only completes text.
        DataError: No passage is relevant to any question.
    """
    asked = list(_requests(task, pool(task, rankings)))
    pairs = sum(len(each.names) for each in asked)
    _announce(experiment, asked, pairs)
    with language_model(experiment) as llm:
        if llm is None or not llm.chat:
            raise ConfigError(
                f"benchmark={task.name} has a language model judge what is found, and "
                f"{'llm is not set' if llm is None else llm.name + ' only completes text'}: choose one that "
                "chats, as in llm=groq, or name relevant ids in the file."
            )
        qrels, unreadable = _graded(llm, asked)
        model = llm.name
    judged = _with(task, qrels)
    left_out = len(task.queries) - len(judged.queries)
    if not judged.queries:
        raise DataError(
            f"{model} found no passage that answers any of the {len(task.queries):,} questions: ask about "
            "what the documents hold, or raise benchmark.judge_depth."
        )
    found = Judging(model, pairs, unreadable, left_out, task.judge_depth or 0)
    return judged, found


def judging_inputs(experiment: Experiment, task: RetrievalTask) -> list[str | None]:
    """Return what shapes the judgments beside the task, for the cache's key; nothing for a judged task."""
    if task.judge_depth is None:
        return []
    return [Prompts().fingerprint(), experiment.llm.fingerprint() if experiment.llm else None]


def _requests(task: RetrievalTask, pooled: Mapping[str, Sequence[str]]) -> Iterator[Asked]:
    passages = {chunk.id: chunk.passage for chunk in task.corpus}
    prompts = Prompts()
    for query in task.queries:
        names = pooled[query.id]
        for start in range(0, len(names), ITEMS):
            some = names[start : start + ITEMS]
            items = [
                {
                    "number": number,
                    "mark": sha256_of(passages[name])[:8],
                    "passage": shorten(printable(passages[name]), CHARACTERS),
                }
                for number, name in enumerate(some, start=1)
            ]
            request = Request(
                messages=prompts.messages("relevance", query=printable(query.text), items=items),
                max_tokens=MOST_TOKENS,
                temperature=0.0,
                schema=SCHEMA,
                schema_name="grades",
                tag="relevance",
            )
            yield Asked(query, some, request)


def _announce(experiment: Experiment, asked: Sequence[Asked], pairs: int) -> None:
    """Say what will be asked and what it costs, before it is."""
    log.info(
        "%s requests will judge %s passages; recorded answers are free.", f"{len(asked):,}", f"{pairs:,}"
    )
    if experiment.llm is not None:
        size = sum(len(turn.content.encode()) for each in asked for turn in each.request.messages)
        estimate = experiment.llm.estimate(
            requests=len(asked),
            prompt_tokens=round(size / BYTES_PER_TOKEN / len(asked)),
            completion_tokens=round(TOKENS_PER_GRADE * pairs / len(asked)),
        )
        for line in estimate.lines():
            log.info("judging: %s", line)


def _graded(llm: LLM, asked: Sequence[Asked]) -> tuple[dict[str, dict[str, int]], int]:
    """Return query id to unit id to grade, and how many passages got no readable grade."""
    qrels: dict[str, dict[str, int]] = {}
    unreadable = 0
    answers = llm.complete(each.request for each in track(asked, "Judging"))
    for each, answer in zip(asked, answers, strict=True):
        text = answer.completion.text if answer.completion else ""
        numbers = list(range(1, len(each.names) + 1))
        items = by_number(read_items(text, "grades") or [], numbers)
        grades = qrels.setdefault(each.query.id, {})
        for number, name in zip(numbers, each.names, strict=True):
            item = items.get(number, {})
            if field_problem(item, {"grade": int}) or not 0 <= item["grade"] <= HIGHEST:
                unreadable += 1
            else:
                grades[name] = item["grade"]
    return qrels, unreadable


def _with(task: RetrievalTask, qrels: Mapping[str, Mapping[str, int]]) -> RetrievalTask:
    """Return the task with its judgments; a question belongs to the document of its best passage."""
    owners = {chunk.id: chunk.document_id for chunk in task.corpus}
    queries = []
    for query in task.queries:
        grades = qrels.get(query.id, {})
        best = max(grades, key=lambda name: grades[name], default=None)
        if best is not None and grades[best] > 0:
            queries.append(replace(query, cluster=owners[best]))
    kept = {query.id: qrels[query.id] for query in queries}
    return replace(task, queries=queries, qrels=kept, judge_depth=None)
