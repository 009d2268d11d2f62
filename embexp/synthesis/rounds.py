"""Rounds of requests: ask, repair, filter, and ask for what is missing until the target is reached."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from embexp.data.records import Pair
from embexp.errors import EmbexpError
from embexp.llm.llm import LLM, Answer, Usage
from embexp.progress import Bar, progress
from embexp.synthesis.diversity import Diversity
from embexp.synthesis.filters.funnel import Funnel, Tally
from embexp.synthesis.filters.models import Judge
from embexp.synthesis.tasks import MORE_ROOM, THINKING, Draft, Problem, Reading, Task

log = logging.getLogger(__name__)


T = TypeVar("T")
_BATCH = 64
"""Drafts that pass through the filters together, so that an index is searched in batches."""
_MARGIN = 1.1
_TOO_LONG = ("too long", "context", "413", "too large")
_SHRINKS = 4
_LARGEST_ROUND = 3.0
"""A round asks for at most this many times the queries that are missing."""
_THOUGHTFUL = 10
"""Answers of thoughts alone, before the first pair, that end the writing."""
_ADVICE = {
    "": "Try another model, or loosen synthesis.filters.",
    "language": "Try another model, name the language in synthesis.language, or let queries be in any with "
    "synthesis.filters.same_language=false.",
    "refusal": "Try another model or service: this one declines these passages.",
}
"""What to do where nothing was accepted, by the most common reason."""
_STOPPED = (
    "The last {:,} queries gave no new pair; all accepted pairs are kept. To continue, raise "
    "synthesis.patience or synthesis.temperature, widen the subject (areas, topics_per_area, mix, personas, "
    "documents) or loosen synthesis.filters, and run the same command again: requests with a recorded answer "
    "are not sent twice."
)


@dataclass
class Known:
    """Accepted queries by chunk or topic, so that prompts can list them as taken."""

    queries: dict[str, list[str]] = field(default_factory=dict)
    most: int = 12

    def of(self, key: str) -> tuple[str, ...]:
        """Return the newest queries about a chunk or topic."""
        return tuple(self.queries.get(key, [])[-self.most :])

    def add(self, pair: Pair) -> None:
        """Remember an accepted pair's query, under its chunk or else under its topic."""
        self.queries.setdefault(pair.chunk_id or pair.context_ids[0], []).append(pair.query)


@dataclass
class Turns(Generic[T]):
    """Hands out tasks about one subject after the other; after the last subject a new turn begins.

    Args:
        subjects: The chunks or topics.
        per_call: The queries that one task asks for.
        task: Returns the task for a subject, a turn and the queries known before the round.
        exhausted: Why there are no more tasks, and how to get more.
        most: The most turns; None for no limit.
        round_per_turn: Whether a round ends with the turn, so that prompts can list what is known already.
    """

    subjects: Sequence[T]
    per_call: int
    task: Callable[[T, int, Known], Task]
    exhausted: str
    most: int | None = None
    round_per_turn: bool = False
    declined: set[str] = field(default_factory=set, init=False)
    """Subjects that no task is about any more, by what ``Task.about`` says."""
    _given: int = field(default=0, init=False)

    def restarted(self) -> Turns[T]:
        """Return the turns from the beginning."""
        return replace(self)

    def tasks(self, queries: int, known: Known) -> list[Task]:
        """Return tasks for about this many queries; none when there is nothing left to ask."""
        wanted = math.ceil(queries / self.per_call)
        tasks: list[Task] = []
        while len(tasks) < wanted and not self._over(begun=bool(tasks)):
            turn, place = divmod(self._given, len(self.subjects))
            self._given += 1
            task = self.task(self.subjects[place], turn, known)
            if task.about not in self.declined:
                tasks.append(task)
        return tasks

    def _over(self, *, begun: bool) -> bool:
        """Return whether there is nothing left to ask, in this round or at all."""
        if len(self.declined) >= len(self.subjects):
            return True
        if self.most is not None and self._given >= len(self.subjects) * self.most:
            return True
        return self.round_per_turn and begun and self._given % len(self.subjects) == 0


@dataclass(frozen=True, slots=True)
class _Attempt:
    task: Task
    repairs: int = 0
    shrinks: int = 0


@dataclass
class Rounds:
    """Runs rounds until ``target`` pairs are accepted, or no new ones appear.

    Args:
        llm: The language model.
        turns: The tasks.
        funnel: The filters.
        diversity: Measures the accepted pairs.
        target: The number of pairs to accept.
        repairs: How often an unusable answer is asked for again.
        patience: Queries in a row without an accepted one that end the writing.
        judge: A last filter that uses the language model; it works once a round.
        requests: Requests that were made before the rounds.
        spent: What they cost.
    """

    llm: LLM
    turns: Turns[Any]
    funnel: Funnel
    diversity: Diversity
    target: int
    repairs: int
    patience: int
    judge: Judge | None = None
    requests: int = 0
    spent: Usage = field(default_factory=Usage)
    accepted: int = field(default=0, init=False)
    stopped: str | None = field(default=None, init=False)
    _known: Known = field(default_factory=Known, init=False)
    _fruitless: int = field(default=0, init=False)
    _thoughtful: int = field(default=0, init=False)
    _waiting: list[_Attempt] = field(default_factory=list, init=False)

    @property
    def tally(self) -> Tally:
        """The dropped queries by reason."""
        return self.funnel.tally

    def pairs(self) -> Iterator[Pair]:
        """Yield accepted pairs, at most ``target``.

        Raises:
            EmbexpError: No query was accepted, or the language model gave up.
        """
        with progress("Writing pairs", total=self.target) as bar:
            while self.accepted < self.target and self.stopped is None:
                attempts = self._next_round()
                if not attempts:
                    self.stopped = self.turns.exhausted
                    break
                yield from self._accept(self._round(attempts), bar)
                if self.accepted < self.target and self._only_thinks():
                    self.stopped = f"The model thinks until its tokens are used up: {MORE_ROOM}."
                elif self.accepted < self.target and self._fruitless >= self.patience:
                    self.stopped = _STOPPED.format(self._fruitless)
        for attempt in self._waiting if self.stopped else ():
            self._give_up([Problem(slot, "unrepaired", "the writing ended") for slot in attempt.task.slots])
        self._log_result()

    def _next_round(self) -> list[_Attempt]:
        waiting, self._waiting = self._waiting, []
        missing = self.target - self.accepted
        again = sum(len(attempt.task.slots) for attempt in waiting)
        lost = sum(self.tally.rejected.values())
        share = max(self.accepted / (self.accepted + lost), 0.02) if lost else 1.0
        fresh = min(
            math.ceil((missing - again * share) / share * _MARGIN), math.ceil(missing * _LARGEST_ROUND)
        )
        if not lost:
            fresh = missing - again
        tasks = self.turns.tasks(fresh, self._known) if fresh > 0 else []
        return [*waiting, *(_Attempt(task) for task in tasks)]

    def _accept(self, batches: Iterator[list[Draft]], bar: Bar) -> Iterator[Pair]:
        with closing(batches):  # type: ignore[type-var]
            for batch in batches:
                for draft in batch:
                    self.accepted += 1
                    self._fruitless = 0
                    self._known.add(draft.pair)
                    self.diversity.add(draft.pair)
                    bar.advance()
                    bar.note(f"{self.requests:,} requests, ${self.usage.usd:,.2f}")
                    yield draft.pair
                    if self.accepted >= self.target:
                        return

    def _round(self, attempts: Sequence[_Attempt]) -> Iterator[list[Draft]]:
        """Yield batches of drafts that the filters keep; with a judge, one batch at the end."""
        to_judge: list[Draft] = []
        for batch in self._filtered(attempts):
            if self.judge is None:
                yield batch
            else:
                to_judge += batch
        if self.judge is not None and to_judge:
            yield Funnel([self.judge], self.tally).keep(to_judge)

    def _filtered(self, attempts: Sequence[_Attempt]) -> Iterator[list[Draft]]:
        drafts: list[Draft] = []
        with closing(self.llm.complete(attempt.task.request() for attempt in attempts)) as answers:
            try:
                for attempt, answer in zip(attempts, answers, strict=True):
                    drafts += self._read(attempt, answer)
                    if len(drafts) >= _BATCH or self._is_fruitless():
                        yield self.funnel.keep(drafts)
                        drafts = []
                        if self._is_fruitless():
                            return
                yield self.funnel.keep(drafts)
            except EmbexpError:
                yield self.funnel.keep(drafts)  # answers count even where the model gives up later
                raise

    def _is_fruitless(self) -> bool:
        # With a judge, pairs are accepted at the end of a round only.
        return self._only_thinks() or (self.judge is None and self._fruitless >= self.patience)

    def _only_thinks(self) -> bool:
        return self._thoughtful >= _THOUGHTFUL and self.accepted == 0

    def _read(self, attempt: _Attempt, answer: Answer) -> list[Draft]:
        self.requests += 1
        if answer.completion is None:
            self._fruitless += len(attempt.task.slots)
            self._unanswered(attempt, answer.failure or "no answer")
            return []
        self.spent += answer.completion.usage
        reading = attempt.task.read(answer.completion, answer.request)
        if reading.declined:  # says nothing about the model or the filters, so patience does not count it
            self.turns.declined.add(attempt.task.about)
        else:
            self._fruitless += len(attempt.task.slots)
        self._note_thinking(reading)
        self._repair(attempt, reading.problems, answer.completion.text)
        return _with_usage(reading.drafts, answer.completion.usage)

    def _note_thinking(self, reading: Reading) -> None:
        problem = next((problem for problem in reading.problems if problem.reason == THINKING), None)
        if problem is None:
            self._thoughtful = 0
            return
        if THINKING not in self.tally.rejected:
            log.warning("An answer is missing: %s.", problem.sentence)
        self._thoughtful += 1

    def _unanswered(self, attempt: _Attempt, failure: str) -> None:
        smaller = attempt.task.smaller() if any(word in failure.lower() for word in _TOO_LONG) else None
        if smaller is not None and attempt.shrinks < _SHRINKS:
            self._waiting.append(replace(attempt, task=smaller, shrinks=attempt.shrinks + 1))
        else:
            self._give_up([Problem(slot, "unanswered", failure) for slot in attempt.task.slots])

    def _repair(self, attempt: _Attempt, problems: Sequence[Problem], text: str) -> None:
        curable = [problem for problem in problems if not problem.final]
        repairable = curable and attempt.repairs < self.repairs
        task = attempt.task.repaired(curable, text) if repairable else None
        if task is None:
            self._give_up(problems)
            return
        self._waiting.append(replace(attempt, task=task, repairs=attempt.repairs + 1))
        self._give_up([problem for problem in problems if problem.final])

    def _give_up(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            self.tally.drop(problem.reason, problem.text, problem.sentence)

    @property
    def usage(self) -> Usage:
        """The cost of all answers, recorded ones included."""
        return self.spent + self.judge.spent if self.judge else self.spent

    def report(self) -> dict[str, Any]:
        """Return counts, dropped queries and usage as JSON-able values."""
        usage = self.usage
        return {
            "target": self.target,
            "accepted": self.accepted,
            "rejected": dict(sorted(self.tally.rejected.items())),
            "passages_declined": len(self.turns.declined),
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

    def _log_result(self) -> None:
        """Log what was accepted and rejected, and warn where the target was missed.

        Raises:
            EmbexpError: Nothing was accepted.
        """
        rejected = sorted(self.tally.rejected.items())
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in rejected) or "none"
        log.info("Accepted %s pairs; rejected: %s.", f"{self.accepted:,}", dropped)
        if self.accepted == 0 and self._only_thinks():
            raise EmbexpError(f"{self.llm.name} wrote no query (rejected: {dropped}). {self.stopped}")
        if self.accepted == 0:
            shown = "; ".join(texts[0] for _, texts in sorted(self.tally.examples.items()) if texts)
            raise EmbexpError(
                f"The language model {self.llm.name} wrote nothing that passes the filters (rejected: "
                f"{dropped}; for example: {shown[:300] or 'nothing to show'}). "
                f"{self.stopped or ''} {_ADVICE.get(_most_common(self.tally), _ADVICE[''])}"
            )
        if self.stopped:
            log.warning(
                "%s of %s pairs were written. %s", f"{self.accepted:,}", f"{self.target:,}", self.stopped
            )


def _most_common(tally: Tally) -> str:
    return tally.rejected.most_common(1)[0][0] if tally.rejected else ""


def _with_usage(drafts: Sequence[Draft], usage: Usage) -> list[Draft]:
    """Give each draft of an answer an equal share of the answer's cost."""
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
