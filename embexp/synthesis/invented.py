"""Entries for one topic of a domain: the request to a chat model, and how its answer is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from embexp.data.records import Generator, Pair
from embexp.llm.llm import Completion, Message, Request
from embexp.storage.files import sha256_of
from embexp.synthesis.answers import (
    INTEGER,
    TEXT,
    by_number,
    field_problem,
    list_schema,
    object_schema,
    read_items,
)
from embexp.synthesis.drafts import Draft, Problem, Reading, Slot
from embexp.synthesis.examples import Example, drawn
from embexp.synthesis.grounded import ANSWER_SHOWN, unreadable
from embexp.synthesis.mix import seed_of
from embexp.synthesis.prompts import Prompts, printable, shorten
from embexp.synthesis.query_text import chatter, tidy_passage, tidy_query
from embexp.synthesis.taxonomy import Topic

SCHEMA = list_schema("entries", object_schema(number=INTEGER, query=TEXT, positive=TEXT, negative=TEXT))
FIELDS: Mapping[str, type] = {"query": str, "positive": str, "negative": str}
ANGLES = (
    "what it is and how it works",
    "how to do it, step by step",
    "what goes wrong and how to put it right",
    "rules, limits, prices, dates and other figures",
    "choices between alternatives",
    "unusual cases and exceptions",
)


@dataclass(frozen=True)
class Inventing:
    """What all requests of a run share."""

    prompts: Prompts
    domain: str
    language: str
    seed: int
    max_tokens: int
    temperature: float
    words: tuple[int, int]
    examples: Sequence[Example]
    examples_per_call: int


@dataclass(frozen=True)
class InventingTask:
    """Asks for entries on one topic; ``bad`` is the answer to repair and what was wrong with it."""

    inventing: Inventing
    topic: Topic
    slots: Sequence[Slot]
    known: tuple[str, ...]
    turn: int
    bad: tuple[str, tuple[Problem, ...]] | None = None
    all_slots: Sequence[Slot] = ()

    def request(self) -> Request:
        """Render the prompt; the turn gives the angle."""
        own = self.inventing
        messages = own.prompts.messages(
            "entries",
            domain=own.domain,
            topic=self.topic,
            angle=ANGLES[self.turn % len(ANGLES)],
            slots=self.all_slots or self.slots,
            known=self.known,
            examples=drawn(own.examples, own.examples_per_call, own.seed, self.topic.place, self.turn),
            language=own.language,
            words={"fewest": own.words[0], "most": own.words[1]},
        )
        if self.bad is not None:
            text, problems = self.bad
            named = [{"number": problem.slot.number, "reason": problem.sentence} for problem in problems]
            repair = own.prompts.messages("repair", problems=named, slots=self.slots)
            messages = (
                *messages,
                Message("assistant", shorten(printable(text), ANSWER_SHOWN) or "{}"),
                *repair,
            )
        return Request(
            messages=messages,
            max_tokens=own.max_tokens,
            temperature=own.temperature,
            seed=seed_of(own.seed, self.topic.place, self.turn, self.bad is not None),
            schema=SCHEMA,
            schema_name="entries",
            tag="entries",
        )

    def read(self, completion: Completion, request: Request) -> Reading:
        """Return a draft for each whole entry, and a problem for each slot without one."""
        items = read_items(completion.text, "entries")
        if not items:
            return Reading(problems=list(unreadable(self.slots, completion, empty=items is not None)))
        found = by_number(items, [slot.number for slot in self.slots])
        generator = Generator(
            kind="entries",
            model=completion.model,
            prompt_sha256=sha256_of([message.content for message in request.messages]),
        )
        reading = Reading()
        for slot in self.slots:
            result = self._read_item(slot, found.get(slot.number), generator)
            if isinstance(result, Problem):
                reading.problems.append(result)
            else:
                reading.drafts.append(Draft(result, slot))
        return reading

    def _read_item(self, slot: Slot, item: Any, generator: Generator) -> Problem | Pair:
        if item is None:
            return Problem(slot, "schema", "it is missing")
        if problem := field_problem(item, FIELDS):
            return Problem(slot, "schema", problem, str(item)[:200])
        query = tidy_query(item["query"])
        positive, negative = tidy_passage(item["positive"]), tidy_passage(item["negative"])
        for name, text in (("query", query), ("positive", positive), ("negative", negative)):
            if not text:
                return Problem(slot, "schema", f"{name} is blank", str(item)[:200])
            if why := chatter(text):
                return Problem(
                    slot, "chatter", f"{name} is not what a person would write ({why})", text[:200]
                )
        identity = sha256_of("entries", query, positive)[:16]
        return Pair(
            id=identity,
            query=query,
            positive=positive,
            negatives=(negative,),
            document_id=f"entry-{identity}",
            query_type=slot.kind,
            context_ids=(self.topic.place,),
            generator=replace(generator, persona=slot.persona, difficulty=slot.difficulty),
        )

    def again(self, problems: Sequence[Problem], text: str) -> InventingTask | None:
        """Ask for the slots that failed, with the answer and its faults in view."""
        return replace(
            self,
            slots=tuple(problem.slot for problem in problems),
            all_slots=self.all_slots or self.slots,
            bad=(text[:ANSWER_SHOWN], tuple(problems)),
        )

    def smaller(self) -> InventingTask | None:
        """Leave out what is known already, then the answer that was to be repaired."""
        if self.bad is None and not self.known:
            return None
        return replace(self, known=(), bad=None, slots=self.slots, all_slots=self.slots)
