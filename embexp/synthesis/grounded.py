"""Queries grounded in one chunk: its context, the requests about it, and how answers are read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from embexp.data.records import Chunk, Generator, Pair
from embexp.llm.llm import Completion, Request
from embexp.llm.replies import REFUSED
from embexp.retrieval.index import Hit, Index
from embexp.storage.files import sha256_of
from embexp.synthesis.answers import INTEGER, TEXT, list_schema, object_schema
from embexp.synthesis.filters.text import occurs
from embexp.synthesis.languages import language_problem
from embexp.synthesis.prompts import Quoted, one_line, printable, quoted, shorten
from embexp.synthesis.query_text import chatter, tidy_query
from embexp.synthesis.tasks import (
    ChatTask,
    Draft,
    Problem,
    Reading,
    Slot,
    TaskSettings,
    generator_of,
    item_problem,
    seed_of,
    share_of,
)

_QUOTE = object_schema(passage=INTEGER, quote=TEXT)
_SCHEMA = list_schema(
    "queries", object_schema(number=INTEGER, query=TEXT, evidence={"type": "array", "items": _QUOTE})
)
_FIELDS: Mapping[str, type] = {"query": str}
_SMALLEST_PASSAGE = 200
_REMEMBERED = 2048
_COMPLETION_TOKENS = 48
QUERY_CHARACTERS = 1000
"""Characters of a chunk that are used to search its neighbours."""


@dataclass(frozen=True)
class SerialIndex:
    """An index that two threads may search: a language model may draw requests, which search, in its own."""

    index: Index

    @cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Search under a lock."""
        with self._lock:
            return self.index.search(queries, k=k)


@dataclass(frozen=True)
class Neighbours:
    """Context for a chunk: the nearest chunks by the index, or those beside it in its document.

    Args:
        chunks: The corpus.
        index: A search over the corpus; None takes the chunks before and after.
        count: The number of chunks to return.
    """

    chunks: Sequence[Chunk]
    index: Index | None
    count: int

    def of(self, chunk: Chunk) -> Sequence[Chunk]:
        """Return up to ``count`` other chunks, nearest first, without copies of the chunk's text."""
        return self._cached(chunk) if self.count else ()

    @cached_property
    def _cached(self) -> Callable[[Chunk], Sequence[Chunk]]:
        # A prompt and the reading of its answer need the same neighbours, one after the other.
        return lru_cache(maxsize=_REMEMBERED)(self._of)

    def _of(self, chunk: Chunk) -> Sequence[Chunk]:
        candidates = self._near(chunk, self.index) if self.index is not None else self._beside(chunk)
        result: list[Chunk] = []
        for other in candidates:
            if other.id != chunk.id and other.text not in {chunk.text, *(kept.text for kept in result)}:
                result.append(other)
        return tuple(result[: self.count])

    @cached_property
    def _by_id(self) -> Mapping[str, Chunk]:
        return {chunk.id: chunk for chunk in self.chunks}

    @cached_property
    def _by_position(self) -> Mapping[tuple[str, int], Chunk]:
        return {(chunk.document_id, chunk.position): chunk for chunk in self.chunks}

    def _near(self, chunk: Chunk, index: Index) -> Iterator[Chunk]:
        (hits,) = index.search([shorten(chunk.passage, QUERY_CHARACTERS)], k=self.count + 3)
        yield from (self._by_id[hit.id] for hit in hits if hit.id in self._by_id)

    def _beside(self, chunk: Chunk) -> Iterator[Chunk]:
        for step in range(1, self.count + 1):
            for at in (chunk.position + step, chunk.position - step):
                if other := self._by_position.get((chunk.document_id, at)):
                    yield other


@dataclass(frozen=True)
class Passage:
    """A chunk as the subject of a chat task.

    Args:
        chunk: The chunk.
        neighbours: Its context.
        characters: The most characters of a passage in the prompt.
        evidence: Whether each query must quote its evidence.
        language: The code of the language that queries must be in; None accepts any.
        size: Steps by which the prompt is shortened: the first drops the context, each further one halves
            the passage.
    """

    chunk: Chunk
    neighbours: Neighbours
    characters: int
    evidence: bool
    language: str | None = None
    size: int = 0
    kind: str = "rag"
    list_name: str = "queries"

    @property
    def schema(self) -> Mapping[str, object]:
        """The JSON schema of the answer."""
        return _SCHEMA

    @property
    def key(self) -> str:
        """The chunk's id."""
        return self.chunk.id

    @property
    def title(self) -> str:
        """The chunk's document."""
        return f"the document {self.chunk.document_id}"

    def values(self, shown: Sequence[Slot], missing: Sequence[Slot], turn: int) -> dict[str, object]:  # noqa: ARG002
        """Return the slots and the passages, the chunk itself first."""
        return {
            "slots": self._fitting(shown),
            "passages": self._passages(),
            "needs_context": any(slot.kind == "multi_hop" for slot in self._fitting(missing)),
        }

    def _passages(self) -> list[Quoted]:
        own = quoted(1, self.chunk.passage, limit=self.characters >> max(self.size - 1, 0))
        context = enumerate(self._context(), start=2)
        return [own, *(quoted(number, other.passage, limit=self.characters) for number, other in context)]

    def _context(self) -> Sequence[Chunk]:
        return self.neighbours.of(self.chunk) if self.size == 0 else ()

    def _fitting(self, slots: Sequence[Slot]) -> Sequence[Slot]:
        """Turn multi_hop queries into plain questions where there is no second passage."""
        if self._context():
            return slots
        return [replace(slot, kind="question") if slot.kind == "multi_hop" else slot for slot in slots]

    def read(
        self, slots: Sequence[Slot], items: Mapping[int, Any], generator: Generator
    ) -> Iterator[tuple[Slot, Pair | Problem]]:
        """Yield a pair or a problem for each slot."""
        passages, context = self._passages(), self._context()
        for slot in self._fitting(slots):
            result = self._read_item(slot, items.get(slot.number), passages)
            if isinstance(result, Problem):
                yield slot, result
            else:
                query, used = result
                others = tuple(context[number - 2].id for number in sorted(used) if number > 1)
                yield slot, replace(_pair(self.chunk, query, generator), context_ids=others)

    def _read_item(self, slot: Slot, item: Any, passages: Sequence[Quoted]) -> Problem | tuple[str, set[int]]:
        """Return the query and the numbers of the passages that it quotes."""
        if problem := item_problem(slot, item, _FIELDS):
            return problem
        query = tidy_query(item["query"])
        if not query:
            return Problem(slot, "schema", "query is blank", item["query"][:200])
        if why := chatter(query):
            return Problem(slot, "chatter", f"the query is not one that a person would type ({why})", query)
        if why := language_problem(query, self.language, passage=self.chunk.passage):
            return Problem(slot, "language", why, query)
        if not self.evidence:
            return query, set()
        used = _quoted_passages(item.get("evidence"), passages)
        if 1 not in used:
            return Problem(slot, "evidence", "no quote occurs word for word in passage 1", query)
        if slot.kind == "multi_hop" and len(used) < 2:
            return Problem(
                slot, "evidence", "a multi_hop query needs a quote from a second passage too", query
            )
        return query, used

    def smaller(self, task: ChatTask) -> ChatTask | None:
        """Drop the context; then halve the passage, again and again."""
        if self.characters >> self.size < _SMALLEST_PASSAGE:
            return None
        return replace(task, subject=replace(self, size=self.size + 1), bad=None)


def _quoted_passages(evidence: Any, passages: Sequence[Quoted]) -> set[int]:
    """Return the numbers of the passages in which a quote occurs, whatever number the answer gives."""
    if isinstance(evidence, str):
        evidence = [evidence]
    if not isinstance(evidence, list):
        return set()
    quotes = [entry.get("quote") if isinstance(entry, dict) else entry for entry in evidence[:20]]
    used: set[int] = set()
    for quote in quotes:
        if isinstance(quote, str):
            used.update([passage.number for passage in passages if occurs(quote, passage.text)][:1])
    return used


def _pair(chunk: Chunk, query: str, generator: Generator) -> Pair:
    return Pair(
        id=sha256_of("rag", chunk.id, query)[:16],
        query=query,
        positive=printable(chunk.passage),
        document_id=chunk.document_id,
        chunk_id=chunk.id,
        generator=generator,
    )


@dataclass(frozen=True)
class CompletingTask:
    """Has a base model complete one question about a chunk, after a few examples.

    Args:
        settings: The run's settings.
        chunk: The chunk.
        slots: One slot.
        turn: How many requests were made about the chunk before; draws the examples and the part of a long
            chunk.
        characters: The most characters of the passage in the prompt.
        language: The code of the language that the query must be in; None accepts any.
        size: Each step halves the passage.
    """

    settings: TaskSettings
    chunk: Chunk
    slots: Sequence[Slot]
    turn: int
    characters: int
    language: str | None = None
    size: int = 0

    @property
    def about(self) -> str:
        """The chunk's id."""
        return self.chunk.id

    def request(self) -> Request:
        """Render the examples and the passage; the answer ends with the line."""
        settings = self.settings
        return Request(
            messages=settings.prompts.messages(
                "completion",
                passage=self._passage(),
                # The same for all chunks of a turn: the model caches the common beginning of prompts.
                examples=settings.draw_examples(self.turn),
            ),
            max_tokens=min(_COMPLETION_TOKENS, settings.max_tokens),
            temperature=settings.temperature,
            seed=seed_of(settings.seed, self.chunk.id, self.turn),
            stop=("\n",),
            tag="rag",
        )

    def _passage(self) -> str:
        """Return the shown part of the chunk on one line; later turns begin elsewhere in a long chunk."""
        limit = self.characters >> self.size
        text = self.chunk.text
        spare = len(text) - limit
        if self.turn and spare > 0:
            at = int(share_of(self.settings.seed, self.chunk.id, self.turn) * spare)
            text = text[at:].partition(" ")[2] or text[at:]
        title = f"{one_line(self.chunk.title, limit // 4)}. " if self.chunk.title else ""
        return one_line(title + text[: 4 * limit], limit)

    def read(self, completion: Completion, request: Request) -> Reading:
        """Return the first line as a draft."""
        (slot,) = self.slots
        if completion.finish_reason in REFUSED:
            return Reading(problems=[Problem(slot, "refusal", "it was declined", final=True)], declined=True)
        line = next((line for line in completion.text.splitlines() if line.strip()), "")
        query = tidy_query(line)
        if not query:
            return Reading(problems=[Problem(slot, "schema", "the completion is empty")])
        if completion.finish_reason == "length":
            return Reading(problems=[Problem(slot, "schema", "the question did not end", query)])
        if why := language_problem(query, self.language, passage=self.chunk.passage):
            return Reading(problems=[Problem(slot, "language", why, query)])
        pair = _pair(self.chunk, query, generator_of("rag", completion, request))
        return Reading(drafts=[Draft(replace(pair, query_type=slot.kind), slot)])

    def repaired(self, problems: Sequence[Problem], text: str) -> None:
        """Return None: a base model cannot repair an answer; the next turn asks anew."""

    def smaller(self) -> CompletingTask | None:
        """Halve the passage."""
        if self.characters >> self.size < _SMALLEST_PASSAGE:
            return None
        return replace(self, size=self.size + 1)
