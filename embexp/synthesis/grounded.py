"""Queries for one chunk of a knowledge base: the request to a chat model, and how its answer is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from embexp.data.records import Chunk, Generator, Pair
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
from embexp.synthesis.filters.text import occurs
from embexp.synthesis.mix import seed_of
from embexp.synthesis.prompts import Prompts, Quoted, printable, quoted, shorten
from embexp.synthesis.query_text import chatter, is_refusal, tidy_query
from embexp.synthesis.seeds import Neighbours

QUOTE = object_schema(passage=INTEGER, quote=TEXT)
SCHEMA = list_schema(
    "queries", object_schema(number=INTEGER, query=TEXT, evidence={"type": "array", "items": QUOTE})
)
FIELDS: Mapping[str, type] = {"query": str}
SMALLEST_PASSAGE = 200
ANSWER_SHOWN = 6000
"""Characters of a bad answer that are sent back with the request to repair it."""


@dataclass(frozen=True)
class Asking:
    """What all requests of a run share."""

    prompts: Prompts
    language: str
    seed: int
    max_tokens: int
    temperature: float
    passage_characters: int
    examples: Sequence[Example]
    examples_per_call: int
    neighbours: Neighbours
    evidence: bool


@dataclass(frozen=True)
class GroundedTask:
    """Asks for queries about one chunk; ``bad`` is the answer to repair and what was wrong with it."""

    asking: Asking
    chunk: Chunk
    slots: Sequence[Slot]
    known: tuple[str, ...]
    turn: int
    bad: tuple[str, tuple[Problem, ...]] | None = None
    all_slots: Sequence[Slot] = ()
    size: int = 0

    def request(self) -> Request:
        """Render the prompt; each step of ``size`` halves the passage, and the first drops the context."""
        asking = self.asking
        messages = asking.prompts.messages(
            "rag",
            language=asking.language,
            slots=self._fitting(self.all_slots or self.slots),
            passages=self.passages(),
            known=self.known,
            examples=drawn(asking.examples, asking.examples_per_call, asking.seed, self.chunk.id, self.turn),
            needs_context=any(slot.kind == "multi_hop" for slot in self._fitting(self.slots)),
        )
        if self.bad is not None:
            text, problems = self.bad
            named = [{"number": problem.slot.number, "reason": problem.sentence} for problem in problems]
            repair = asking.prompts.messages("repair", problems=named, slots=self.slots)
            messages = (
                *messages,
                Message("assistant", shorten(printable(text), ANSWER_SHOWN) or "{}"),
                *repair,
            )
        return Request(
            messages=messages,
            max_tokens=asking.max_tokens,
            temperature=asking.temperature,
            seed=seed_of(asking.seed, self.chunk.id, self.turn, self.bad is not None),
            schema=SCHEMA,
            schema_name="queries",
            tag="rag",
        )

    def passages(self) -> list[Quoted]:
        """Return the passages of the prompt, the chunk itself first."""
        limit = self.asking.passage_characters
        own = quoted(1, self.chunk.passage, limit=limit >> max(self.size - 1, 0))
        context = self._context()
        return [
            own,
            *(quoted(number, chunk.passage, limit=limit) for number, chunk in enumerate(context, start=2)),
        ]

    def _context(self) -> Sequence[Chunk]:
        return self.asking.neighbours.of(self.chunk) if self.size == 0 else ()

    def _fitting(self, slots: Sequence[Slot]) -> Sequence[Slot]:
        """Without a second passage, a multi_hop query becomes a plain question."""
        if self._context():
            return slots
        return [replace(slot, kind="question") if slot.kind == "multi_hop" else slot for slot in slots]

    def read(self, completion: Completion, request: Request) -> Reading:
        """Return a draft for each good query, and a problem for each slot without one."""
        items = read_items(completion.text, "queries")
        if not items:
            return Reading(problems=list(unreadable(self.slots, completion, empty=items is not None)))
        found = by_number(items, [slot.number for slot in self.slots])
        passages, context = self.passages(), self._context()
        generator = Generator(
            kind="rag", model=completion.model, prompt_sha256=sha256_of([m.content for m in request.messages])
        )
        reading = Reading()
        for slot in self._fitting(self.slots):
            result = self._read_item(slot, found.get(slot.number), passages)
            if isinstance(result, Problem):
                reading.problems.append(result)
            else:
                query, used = result
                others = tuple(context[number - 2].id for number in sorted(used) if number > 1)
                reading.drafts.append(Draft(self._pair(slot, query, others, generator), slot))
        return reading

    def _read_item(self, slot: Slot, item: Any, passages: Sequence[Quoted]) -> Problem | tuple[str, set[int]]:
        if item is None:
            return Problem(slot, "schema", "it is missing")
        if problem := field_problem(item, FIELDS):
            return Problem(slot, "schema", problem, str(item)[:200])
        query = tidy_query(item["query"])
        if not query:
            return Problem(slot, "schema", "query is blank", item["query"][:200])
        if why := chatter(query):
            return Problem(slot, "chatter", f"the query is not one that a person would type ({why})", query)
        if not self.asking.evidence:
            return query, set()
        used = _proven(item.get("evidence"), passages)
        if 1 not in used:
            return Problem(slot, "evidence", "no quote occurs word for word in passage 1", query)
        if slot.kind == "multi_hop" and len(used) < 2:
            return Problem(
                slot, "evidence", "a multi_hop query needs a quote from a second passage too", query
            )
        return query, used

    def _pair(self, slot: Slot, query: str, others: tuple[str, ...], generator: Generator) -> Pair:
        return Pair(
            id=sha256_of("rag", self.chunk.id, query)[:16],
            query=query,
            positive=printable(self.chunk.passage),
            document_id=self.chunk.document_id,
            chunk_id=self.chunk.id,
            query_type=slot.kind,
            context_ids=others,
            generator=replace(generator, persona=slot.persona, difficulty=slot.difficulty),
        )

    def again(self, problems: Sequence[Problem], text: str) -> GroundedTask | None:
        """Ask for the slots that failed, with the answer and its faults in view."""
        return replace(
            self,
            slots=tuple(problem.slot for problem in problems),
            all_slots=self.all_slots or self.slots,
            bad=(text[:ANSWER_SHOWN], tuple(problems)),
        )

    def smaller(self) -> GroundedTask | None:
        """Leave the context out; then show half of the passage, and so on."""
        if self.asking.passage_characters >> self.size < SMALLEST_PASSAGE:
            return None
        return replace(self, size=self.size + 1, bad=None)


def _proven(evidence: Any, passages: Sequence[Quoted]) -> set[int]:
    """Return the numbers of the passages in which a quote occurs, whatever number came with it."""
    if isinstance(evidence, str):
        evidence = [evidence]
    if not isinstance(evidence, list):
        return set()
    quotes = [entry.get("quote") if isinstance(entry, dict) else entry for entry in evidence[:20]]
    found: set[int] = set()
    for quote in quotes:
        if not isinstance(quote, str):
            continue
        for passage in passages:
            if occurs(quote, passage.text):
                found.add(passage.number)
                break
    return found


def unreadable(slots: Sequence[Slot], completion: Completion, *, empty: bool) -> Iterator[Problem]:
    """Yield a problem for each slot of an answer that holds no items; a refusal is not asked again.

    Args:
        slots: What was asked for.
        completion: The answer.
        empty: Whether there was a list, with nothing in it.
    """
    refused = is_refusal(completion.text) and not empty
    sentence = "the list is empty" if empty else "it is not the JSON object asked for"
    if completion.finish_reason == "length":
        sentence += "; it was cut off, so be brief"
    shown = shorten(printable(completion.text[:1000]), 200)
    for slot in slots:
        yield Problem(slot, "refusal" if refused else "schema", sentence, shown, hopeless=refused)
