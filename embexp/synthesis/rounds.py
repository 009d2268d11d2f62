"""What the writing of pairs hands from step to step: slots, drafts, and what is wrong with an answer."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from embexp.data.records import Pair
from embexp.errors import EmbexpError
from embexp.llm.llm import LLM, Answer, Completion, Request, Usage
from embexp.progress import Bar, progress
from embexp.synthesis.drafts import Draft, Problem, Reading, Slot
from embexp.synthesis.filters.funnel import Funnel, Tally
from embexp.synthesis.filters.judging import Judge

log = logging.getLogger(__name__)


BATCH = 64
"""Drafts that pass through the filters together, so that an index is searched in batches."""
MARGIN = 1.1
TOO_LONG = ("too long", "context", "413", "too large")
SHRINKS = 4
STOPPED = (
    "The last {:,} queries asked for gave no new pair; what is accepted is kept. To go on, raise "
    "synthesis.patience or synthesis.temperature, widen what is asked about (areas, topics_per_area, mix, "
    "personas, documents) or loosen synthesis.filters, and run the same command again: what was answered is "
    "not asked twice."
)
LARGEST_ROUND = 3.0
"""A round asks for at most this many times the queries that are missing."""


class Task(Protocol):
    """One request to be, and how to read its answer; frozen, and cheap to hold by the thousand."""

    @property
    def slots(self) -> Sequence[Slot]:
        """The queries that are asked for."""

    def request(self) -> Request:
        """Render the request; the same task gives the same one."""

    def read(self, completion: Completion, request: Request) -> Reading:
        """Return the drafts in an answer, and a problem for each slot without one."""

    def again(self, problems: Sequence[Problem], text: str) -> Task | None:
        """Return the task that asks for these slots again; None where that makes no sense."""

    def smaller(self) -> Task | None:
        """Return the task with a shorter prompt, None if it cannot be any shorter."""


class Source(Protocol):
    """Where fresh tasks come from."""

    def tasks(self, queries: int, known: Known) -> list[Task]:
        """Return tasks for about this many queries in all; none when there is nothing left to ask."""

    def exhausted(self) -> str:
        """Say why there are no more tasks, and how to get more."""


@dataclass
class Known:
    """Accepted queries by place (chunk or topic), to be told not to write them again."""

    queries: dict[str, list[str]] = field(default_factory=dict)
    most: int = 12

    def at(self, place: str) -> tuple[str, ...]:
        """Return the newest queries of a place."""
        return tuple(self.queries.get(place, [])[-self.most :])

    def add(self, place: str, query: str) -> None:
        """Remember an accepted query."""
        self.queries.setdefault(place, []).append(query)


@dataclass(frozen=True, slots=True)
class _Turn:
    task: Task
    repairs: int = 0
    shrinks: int = 0


@dataclass
class Rounds:
    """Runs rounds over a source until ``target`` pairs are accepted, or nothing new comes any more.

    Args:
        llm: The language model.
        source: Where tasks come from.
        funnel: What drafts pass through.
        target: Pairs to accept.
        repairs: How often an unusable answer is asked for again.
        patience: Queries asked in a row without an accepted one, after which the writing ends.
        judge: A last filter that asks the model itself; it works once a round.
        place: Which field of a pair names its place.
    """

    llm: LLM
    source: Source
    funnel: Funnel
    target: int
    repairs: int
    patience: int
    judge: Judge | None = None
    place: str = "chunk_id"
    accepted: int = 0
    stopped: str | None = None
    requests: int = 0
    spent: Usage = field(default_factory=Usage)
    known: Known = field(default_factory=Known)
    _fruitless: int = 0
    _waiting: list[_Turn] = field(default_factory=list)

    @property
    def tally(self) -> Tally:
        """What was dropped and why."""
        return self.funnel.tally

    def pairs(self) -> Iterator[Pair]:
        """Yield accepted pairs, at most ``target``."""
        with progress("Writing pairs", total=self.target) as bar:
            while self.accepted < self.target and self.stopped is None:
                turns = self._next_round()
                if not turns:
                    self.stopped = self.source.exhausted()
                    break
                yield from self._accept(self._round(turns), bar)
                if self.accepted < self.target and self._fruitless >= self.patience:
                    self.stopped = STOPPED.format(self._fruitless)
        for turn in self._waiting if self.stopped else ():
            self._give_up([Problem(slot, "unrepaired", "the writing ended") for slot in turn.task.slots])

    def _next_round(self) -> list[_Turn]:
        waiting, self._waiting = self._waiting, []
        missing = self.target - self.accepted
        again = sum(len(turn.task.slots) for turn in waiting)
        lost = sum(self.tally.rejected.values())
        share = max(self.accepted / (self.accepted + lost), 0.02) if lost else 1.0
        fresh = min(math.ceil((missing - again * share) / share * MARGIN), math.ceil(missing * LARGEST_ROUND))
        if not lost:
            fresh = missing - again
        tasks = self.source.tasks(fresh, self.known) if fresh > 0 else []
        return [*waiting, *(_Turn(task) for task in tasks)]

    def _accept(self, batches: Iterator[list[Draft]], bar: Bar) -> Iterator[Pair]:
        with closing(batches):  # type: ignore[type-var]
            for batch in batches:
                for draft in batch:
                    self.accepted += 1
                    self._fruitless = 0
                    self.known.add(self._place(draft.pair), draft.pair.query)
                    bar.advance()
                    bar.note(f"{self.requests:,} requests, ${self.usage.usd:,.2f}")
                    yield draft.pair
                    if self.accepted >= self.target:
                        return

    def _place(self, pair: Pair) -> str:
        return str(pair.context_ids[0]) if self.place == "topic" else pair.chunk_id

    def _round(self, turns: Sequence[_Turn]) -> Iterator[list[Draft]]:
        """Yield batches of drafts that the filters keep; with a judge, one batch at the end."""
        judged: list[Draft] = []
        for batch in self._filtered(turns):
            if self.judge is None:
                yield batch
            else:
                judged += batch
        if self.judge is not None and judged:
            yield Funnel([self.judge], self.tally).keep(judged)

    def _filtered(self, turns: Sequence[_Turn]) -> Iterator[list[Draft]]:
        drafts: list[Draft] = []
        answers = self.llm.complete(turn.task.request() for turn in turns)
        try:
            for turn, answer in zip(turns, answers, strict=True):
                drafts += self._read(turn, answer)
                if len(drafts) >= BATCH or self._is_fruitless():
                    yield self.funnel.keep(drafts)
                    drafts = []
                    if self._is_fruitless():
                        return
            yield self.funnel.keep(drafts)
        except EmbexpError:
            yield self.funnel.keep(drafts)  # what was answered counts, also where the model gives up
            raise
        finally:
            if close := getattr(answers, "close", None):
                close()

    def _is_fruitless(self) -> bool:
        # With a judge, pairs are accepted at the end of a round only.
        return self.judge is None and self._fruitless >= self.patience

    def _read(self, turn: _Turn, answer: Answer) -> list[Draft]:
        self.requests += 1
        self._fruitless += len(turn.task.slots)
        if answer.completion is None:
            self._unanswered(turn, answer.failure or "no answer")
            return []
        self.spent = _sum(self.spent, answer.completion.usage)
        reading = turn.task.read(answer.completion, answer.request)
        self._repair(turn, reading.problems, answer.completion.text)
        return _with_usage(reading.drafts, answer.completion.usage)

    def _unanswered(self, turn: _Turn, failure: str) -> None:
        smaller = turn.task.smaller() if any(word in failure.lower() for word in TOO_LONG) else None
        if smaller is not None and turn.shrinks < SHRINKS:
            self._waiting.append(replace(turn, task=smaller, shrinks=turn.shrinks + 1))
        else:
            self._give_up([Problem(slot, "unanswered", failure) for slot in turn.task.slots])

    def _repair(self, turn: _Turn, problems: Sequence[Problem], text: str) -> None:
        curable = [problem for problem in problems if not problem.hopeless]
        task = turn.task.again(curable, text) if curable and turn.repairs < self.repairs else None
        if task is None:
            self._give_up(problems)
            return
        self._waiting.append(replace(turn, task=task, repairs=turn.repairs + 1))
        self._give_up([problem for problem in problems if problem.hopeless])

    def _give_up(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            self.tally.drop(problem.reason, problem.text, problem.sentence)

    @property
    def usage(self) -> Usage:
        """What all answers cost, recorded ones included."""
        return _sum(self.spent, self.judge.spent) if self.judge else self.spent

    def report(self) -> dict[str, Any]:
        """Return counts, funnel and usage as JSON-able values."""
        usage = self.usage
        return {
            "target": self.target,
            "accepted": self.accepted,
            "rejected": dict(sorted(self.tally.rejected.items())),
            "requests": self.requests + (self.judge.spent.requests if self.judge else 0),
            "usage": {
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "usd": round(usage.usd, 6),
            },
            "stopped": self.stopped,
            "examples_dropped": {
                reason: list(texts) for reason, texts in sorted(self.tally.examples.items())
            },
        }


def _with_usage(drafts: Sequence[Draft], usage: Usage) -> list[Draft]:
    """Give each draft of an answer an equal share of what the answer cost."""
    if not drafts:
        return []
    share = {
        "prompt_tokens": round(usage.prompt_tokens / len(drafts), 2),
        "completion_tokens": round(usage.completion_tokens / len(drafts), 2),
        "usd": round(usage.usd / len(drafts), 8),
    }
    return [
        replace(draft, pair=replace(draft.pair, generator=replace(draft.pair.generator, usage=share)))
        for draft in drafts
    ]


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        requests=one.requests + other.requests,
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
        usd=one.usd + other.usd,
    )
