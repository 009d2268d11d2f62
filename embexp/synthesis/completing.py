"""Queries from a base model that only completes text: examples, the passage, one question to fill in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from embexp.data.records import Chunk, Generator, Pair
from embexp.llm.llm import Completion, Request
from embexp.storage.files import sha256_of
from embexp.synthesis.drafts import Draft, Problem, Reading, Slot
from embexp.synthesis.examples import drawn, one_line
from embexp.synthesis.grounded import SMALLEST_PASSAGE, Asking
from embexp.synthesis.mix import seed_of, share_of
from embexp.synthesis.prompts import printable
from embexp.synthesis.query_text import tidy_query

QUERY_TOKENS = 48


@dataclass(frozen=True)
class CompletingTask:
    """Asks for one question about a chunk; the turn draws the examples and the part of a long chunk."""

    asking: Asking
    chunk: Chunk
    slots: Sequence[Slot]
    turn: int
    size: int = 0

    def request(self) -> Request:
        """Render the examples and the passage; the answer ends at the line's end."""
        asking = self.asking
        return Request(
            messages=asking.prompts.messages(
                "completion",
                passage=self.passage(),
                # The same for all chunks of a turn: the model keeps its work on a prompt's common beginning.
                examples=drawn(asking.examples, asking.examples_per_call, asking.seed, self.turn),
            ),
            max_tokens=min(QUERY_TOKENS, asking.max_tokens),
            temperature=asking.temperature,
            seed=seed_of(asking.seed, self.chunk.id, self.turn),
            stop=("\n",),
            tag="rag",
        )

    def passage(self) -> str:
        """Return what is shown of the chunk, on one line; later turns begin elsewhere in a long one."""
        limit = self.asking.passage_characters >> self.size
        text = self.chunk.text
        spare = len(text) - limit
        if self.turn and spare > 0:
            at = int(share_of(self.asking.seed, self.chunk.id, self.turn) * spare)
            text = text[at:].partition(" ")[2] or text[at:]
        title = f"{one_line(self.chunk.title, limit // 4)}. " if self.chunk.title else ""
        return one_line(title + text[: 4 * limit], limit)

    def read(self, completion: Completion, request: Request) -> Reading:
        """Return the first line as a draft."""
        (slot,) = self.slots
        line = next((line for line in completion.text.splitlines() if line.strip()), "")
        query = tidy_query(line)
        if not query:
            return Reading(problems=[Problem(slot, "schema", "the completion is empty")])
        if completion.finish_reason == "length":
            return Reading(problems=[Problem(slot, "schema", "the question did not end", query)])
        generator = Generator(
            kind="rag",
            model=completion.model,
            prompt_sha256=sha256_of([message.content for message in request.messages]),
        )
        pair = Pair(
            id=sha256_of("rag", self.chunk.id, query)[:16],
            query=query,
            positive=printable(self.chunk.passage),
            document_id=self.chunk.document_id,
            chunk_id=self.chunk.id,
            query_type=slot.kind,
            generator=generator,
        )
        return Reading(drafts=[Draft(pair, slot)])

    def again(self, problems: Sequence[Problem], text: str) -> None:
        """A base model does not understand what was wrong: the next turn asks anew."""

    def smaller(self) -> CompletingTask | None:
        """Show half of the passage."""
        if self.asking.passage_characters >> self.size < SMALLEST_PASSAGE:
            return None
        return replace(self, size=self.size + 1)
