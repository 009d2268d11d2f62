"""Tasks: one request to a language model with the queries that it asks for, and how its answer is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Protocol

from embexp.data.records import Generator, Pair
from embexp.llm.llm import Completion, Message, Request
from embexp.llm.replies import CONTENT_FILTER, REFUSED
from embexp.storage.files import sha256_of
from embexp.synthesis.answers import by_number, field_problem, read_items
from embexp.synthesis.prompts import Example, Prompts, printable, shorten
from embexp.synthesis.query_text import is_refusal
from embexp.synthesis.thoughts import without_thoughts

THINKING = "thinking"
MORE_ROOM = (
    "raise synthesis.max_tokens, or let the model think less with llm.reasoning_effort (low or none, as its "
    "service knows it)"
)
ANSWER_SHOWN = 6000
"""Characters of a bad answer that are sent back with the request to repair it."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One query that a request asks for: its number in the prompt, kind, persona and difficulty."""

    number: int
    kind: str
    persona: str
    difficulty: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A pair that has not passed the filters yet."""

    pair: Pair
    slot: Slot


@dataclass(frozen=True, slots=True)
class Problem:
    """The problem of a slot without a draft.

    Args:
        slot: The slot.
        reason: The reason under which it is counted.
        sentence: What is wrong, for the repair prompt and the report.
        text: The part of the answer that shows it.
        final: True where a repair is pointless: a refusal, or a request that the service rejects.
    """

    slot: Slot
    reason: str
    sentence: str
    text: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """The content of one answer: a draft or a problem for each slot.

    ``declined`` says that the service or the model wants nothing to do with the passage: it is not asked
    about again.
    """

    drafts: list[Draft] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    declined: bool = False


class Task(Protocol):
    """One request and how to read its answer; immutable, and cheap to hold by the thousand."""

    @property
    def slots(self) -> Sequence[Slot]:
        """The queries that are asked for."""

    @property
    def about(self) -> str:
        """Identifies the chunk or topic."""

    def request(self) -> Request:
        """Render the request; the same task gives the same one."""

    def read(self, completion: Completion, request: Request) -> Reading:
        """Return the drafts in an answer, and a problem for each slot without one."""

    def repaired(self, problems: Sequence[Problem], text: str) -> Task | None:
        """Return the task that asks again for these slots of a bad answer; None where that is pointless."""

    def smaller(self) -> Task | None:
        """Return the task with a shorter prompt, None if it cannot be any shorter."""


def share_of(*key: object) -> float:
    """Return a number in [0, 1) that depends on the key alone, evenly spread over keys."""
    return int(sha256_of(*key)[:12], 16) / 16**12


def seed_of(*key: object) -> int:
    """Return a seed below 2**31 that depends on the key alone."""
    return int(sha256_of(*key)[:8], 16) % 2**31


def draw_slots(
    *key: object, count: int, mix: Mapping[str, float], personas: Sequence[str], difficulties: Sequence[str]
) -> list[Slot]:
    """Return ``count`` slots that depend on the key alone.

    Kinds are drawn by systematic sampling (Madow & Madow, Ann. Math. Stat. 15, 1944): one random start,
    then equal steps along the cumulated shares. So each chunk or topic has an even mix, and the mix over all
    of them tends to the shares. It keeps its slots when others are added or removed, so that its prompt, and
    with it a recorded answer, stays valid.

    Args:
        key: Identifies the slots (seed, chunk id, turn).
        count: The number of queries to ask for.
        mix: Kind -> share; shares need not add up to 1.
        personas: Who asks; in turn from a random start.
        difficulties: How hard; in turn from a random start.
    """
    kinds = _systematic(share_of("kind", *key), count, mix)
    persona = int(share_of("persona", *key) * len(personas))
    difficulty = int(share_of("difficulty", *key) * len(difficulties))
    return [
        Slot(
            number=at + 1,
            kind=kind,
            persona=personas[(persona + at) % len(personas)],
            difficulty=difficulties[(difficulty + at) % len(difficulties)],
        )
        for at, kind in enumerate(kinds)
    ]


def _systematic(start: float, count: int, mix: Mapping[str, float]) -> list[str]:
    names = [name for name, weight in mix.items() if weight > 0]
    ends = list(accumulate(mix[name] for name in names))
    chosen, at = [], 0
    for step in range(count):
        point = (start + step) / count * ends[-1]
        while point >= ends[at] and at < len(ends) - 1:
            at += 1
        chosen.append(names[at])
    return chosen


@dataclass(frozen=True)
class TaskSettings:
    """The settings that all tasks of a run share."""

    prompts: Prompts
    examples: Sequence[Example]
    examples_per_call: int
    language: str
    seed: int
    temperature: float
    max_tokens: int

    def draw_examples(self, *key: object) -> list[Example]:
        """Return examples, and their order, that depend on the seed and the key alone."""
        places = range(len(self.examples))
        drawn = sorted(places, key=lambda at: share_of("example", at, self.seed, *key))
        return [self.examples[at] for at in drawn[: self.examples_per_call]]


class Subject(Protocol):
    """What a chat task writes about: a chunk of a knowledge base, or a topic of a domain."""

    @property
    def kind(self) -> str:
        """The kind of generator, which also names the prompt template and tags the request."""

    @property
    def list_name(self) -> str:
        """The key of the list in the answer, which also names its schema."""

    @property
    def schema(self) -> Mapping[str, object]:
        """The JSON schema of the answer."""

    @property
    def key(self) -> str:
        """Identifies the subject, for seeds and examples."""

    @property
    def title(self) -> str:
        """Names the subject in reports: its document, or the topic."""

    def values(self, shown: Sequence[Slot], missing: Sequence[Slot], turn: int) -> dict[str, object]:
        """Return the template's values: ``slots`` and what the subject adds.

        Args:
            shown: The slots that the prompt shows.
            missing: Those among them that still lack a draft.
            turn: How many requests were made about the subject before.
        """

    def read(
        self, slots: Sequence[Slot], items: Mapping[int, Any], generator: Generator
    ) -> Iterator[tuple[Slot, Pair | Problem]]:
        """Yield a pair or a problem for each slot, given the answer's items by number."""

    def smaller(self, task: ChatTask) -> ChatTask | None:
        """Return the task with a shorter prompt, None if it cannot be any shorter."""


@dataclass(frozen=True)
class ChatTask:
    """Asks a chat model for queries about a subject.

    Args:
        settings: The run's settings.
        subject: The chunk or topic.
        slots: The queries to ask for.
        known: Accepted queries about the subject, which the prompt lists as taken.
        turn: How many requests were made about the subject before.
        bad: The answer to repair and its problems.
        all_slots: The slots of the first request, where ``slots`` are only those to repair.
    """

    settings: TaskSettings
    subject: Subject
    slots: Sequence[Slot]
    known: tuple[str, ...]
    turn: int
    bad: tuple[str, tuple[Problem, ...]] | None = None
    all_slots: Sequence[Slot] = ()

    @property
    def about(self) -> str:
        """The subject's key."""
        return self.subject.key

    def request(self) -> Request:
        """Render the prompt, and after a bad answer that answer with its problems."""
        settings, subject = self.settings, self.subject
        messages = settings.prompts.messages(
            subject.kind,
            language=settings.language,
            known=self.known,
            examples=settings.draw_examples(subject.key, self.turn),
            **subject.values(self.all_slots or self.slots, self.slots, self.turn),
        )
        return Request(
            messages=(*messages, *self._repair()),
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=seed_of(settings.seed, subject.key, self.turn, self.bad is not None),
            schema=subject.schema,
            schema_name=subject.list_name,
            tag=subject.kind,
        )

    def _repair(self) -> tuple[Message, ...]:
        if self.bad is None:
            return ()
        text, problems = self.bad
        named = [{"number": problem.slot.number, "reason": problem.sentence} for problem in problems]
        shown = Message("assistant", shorten(printable(text), ANSWER_SHOWN) or "{}")
        return shown, *self.settings.prompts.messages("repair", problems=named, slots=self.slots)

    def read(self, completion: Completion, request: Request) -> Reading:
        """Return a draft for each good item, and a problem for each slot without one."""
        if completion.finish_reason in REFUSED:
            problems = _declined(self.slots, completion, self.subject.title)
            return Reading(problems=list(problems), declined=True)
        # Where no passage shows such an escape, the model escaped a letter twice.
        unescape = not any("\\u" in message.content for message in request.messages)
        items = read_items(
            completion.text, self.subject.list_name, item_fields(self.subject), unescape=unescape
        )
        if not items:
            return Reading(problems=list(_unreadable(self.slots, completion, empty=items is not None)))
        by_slot = by_number(items, [slot.number for slot in self.slots])
        generator = generator_of(self.subject.kind, completion, request)
        reading = Reading()
        for slot, result in self.subject.read(self.slots, by_slot, generator):
            if isinstance(result, Problem):
                reading.problems.append(result)
            else:
                asked = replace(result.generator, persona=slot.persona, difficulty=slot.difficulty)
                pair = replace(result, query_type=slot.kind, generator=asked)
                reading.drafts.append(Draft(pair, slot))
        return reading

    def repaired(self, problems: Sequence[Problem], text: str) -> ChatTask:
        """Ask for the slots that failed, with the answer and its problems in view."""
        return replace(
            self,
            slots=tuple(problem.slot for problem in problems),
            all_slots=self.all_slots or self.slots,
            bad=(text[:ANSWER_SHOWN], tuple(problems)),
        )

    def smaller(self) -> ChatTask | None:
        """Return the task with a shorter prompt, None if it cannot be any shorter."""
        return self.subject.smaller(self)


def item_fields(subject: Subject) -> list[str]:
    """Return the fields that each item of an answer about a subject must have, but its number."""
    properties: Any = subject.schema["properties"]
    required = properties[subject.list_name]["items"]["required"]
    return [name for name in required if name != "number"]


def generator_of(kind: str, completion: Completion, request: Request) -> Generator:
    """Return the generator of the pairs in an answer."""
    prompt = sha256_of([message.content for message in request.messages])
    return Generator(kind=kind, model=completion.model, prompt_sha256=prompt)


def item_problem(slot: Slot, item: Any, fields: Mapping[str, type]) -> Problem | None:
    """Return the problem of an item that is missing or lacks one of the fields."""
    if item is None:
        return Problem(slot, "schema", "it is missing")
    if problem := field_problem(item, fields):
        return Problem(slot, "schema", problem, str(item)[:200])
    return None


def _declined(slots: Sequence[Slot], completion: Completion, title: str) -> Iterator[Problem]:
    """Yield a problem for each slot of a request that the service's filter or the model declined."""
    by_filter = completion.finish_reason == CONTENT_FILTER
    who = "the service's content filter refused" if by_filter else "the model declined"
    shown = shorten(printable(completion.text[:1000]), 200)
    for slot in slots:
        yield Problem(slot, "refusal", f"{who} a request about {title}", shown, final=True)


def _unreadable(slots: Sequence[Slot], completion: Completion, *, empty: bool) -> Iterator[Problem]:
    """Yield a problem for each slot of an answer without items; ``empty`` says that its list is empty."""
    if completion.finish_reason == "length" and not without_thoughts(completion.text).strip():
        yield from (_thinking(slot, completion) for slot in slots)
        return
    refused = is_refusal(completion.text) and not empty
    sentence = "the list is empty" if empty else "it is not the JSON object asked for"
    if completion.finish_reason == "length":
        sentence += "; it was cut off, so be brief"
    shown = shorten(printable(completion.text[:1000]), 200)
    for slot in slots:
        yield Problem(slot, "refusal" if refused else "schema", sentence, shown, final=refused)


def _thinking(slot: Slot, completion: Completion) -> Problem:
    """Return the problem of an answer in which the model thought until its tokens were used up."""
    tokens = completion.usage.completion_tokens
    spent = f"all {tokens:,} tokens" if tokens else "all tokens"
    return Problem(slot, THINKING, f"{spent} were spent on thinking: {MORE_ROOM}", final=True)
