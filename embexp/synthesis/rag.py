"""Queries about a knowledge base, written by a language model that sees the passage and its neighbours."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from embexp.data.records import Chunk, Document, Pair
from embexp.errors import ConfigError
from embexp.llm.llm import LLM
from embexp.retrieval.index import Index
from embexp.storage.files import sha256_of, sha256_of_file
from embexp.synthesis.completing import CompletingTask
from embexp.synthesis.diversity import Diversity
from embexp.synthesis.drafts import Slot
from embexp.synthesis.examples import Example, read_examples
from embexp.synthesis.extractive import held_out_pairs
from embexp.synthesis.filters.funnel import Funnel, Tally
from embexp.synthesis.filters.judging import Judge
from embexp.synthesis.filters.options import Filters
from embexp.synthesis.grounded import Asking, GroundedTask
from embexp.synthesis.mix import check_counts, check_mix, default_difficulties, default_personas, slots, tell
from embexp.synthesis.prompts import Prompts, default_folder
from embexp.synthesis.rounds import Known, Rounds, Task
from embexp.synthesis.seeds import Neighbours, SerialIndex, even_order
from embexp.synthesis.synthesis import Plan, requests_for

log = logging.getLogger(__name__)


TOKENS_PER_QUERY = 85
COMPLETED_TOKENS = 18
COMPLETION_CHARACTERS = 700


def _mix() -> dict[str, float]:
    return {
        "question": 4,
        "keyword": 2,
        "how_to": 2,
        "claim": 1,
        "scenario": 1,
        "comparison": 1,
        "multi_hop": 1,
        "misspelt": 1,
    }


@dataclass(kw_only=True)
class RagSynthesis:
    """Writes ``target`` pairs with a language model, grounded in passages that retrieval chose.

    Args:
        target: Accepted pairs to write.
        queries_per_call: Queries that one request asks for; a model that only completes text gets one a call.
        calls_per_chunk: The most requests about one chunk, repairs left out; chunks times calls bound
            what can be written.
        mix: Kind of query -> its share; kinds are described in the prompt file kinds.jinja.
        personas: Who asks; in turn.
        difficulties: How hard; in turn, out of those that kinds.jinja describes.
        language: The language of the queries, as words in the prompt.
        neighbours: How many other passages to show as context.
        examples: A JSON Lines file with queries of the user's own as examples of style; a model that only
            completes text needs their passages too.
        examples_per_call: How many of them a prompt shows.
        prompts: A folder with templates that replace ours.
        filters: The funnel.
        repairs: How often an unusable answer is asked for again, its faults named.
        patience: Queries asked in a row without an accepted one, after which the writing ends.
        temperature: Of a chat model.
        completion_temperature: Of a model that only completes text, which needs to be held closer.
        max_tokens: The longest answer; a reasoning model needs room for its thoughts.
        passage_characters: A longer passage is cut in the prompt.
        least_passage_words: Chunks with fewer words are not asked about.
        expected_yield: The share of queries that will be accepted, for estimates alone.
        held_out: Whether to add queries in the authors' own words, for dev and test alone.
        seed: Draws the order of chunks, kinds and examples, and seeds the model.
    """

    target: int = 2000
    queries_per_call: int = 5
    calls_per_chunk: int = 4
    mix: dict[str, float] = field(default_factory=_mix)
    personas: list[str] = field(default_factory=default_personas)
    difficulties: list[str] = field(default_factory=default_difficulties)
    language: str = "the language of passage 1"
    neighbours: int = 2
    examples: str = ""
    examples_per_call: int = 4
    prompts: str = ""
    filters: Filters = field(default_factory=Filters)
    repairs: int = 1
    patience: int = 400
    temperature: float = 0.8
    completion_temperature: float = 0.3
    max_tokens: int = 2048
    passage_characters: int = 6000
    least_passage_words: int = 8
    expected_yield: float = 0.75
    held_out: bool = True
    seed: int = 0
    _held_out: int = field(default=0, init=False, repr=False, compare=False)
    _rounds: Rounds | None = field(default=None, init=False, repr=False, compare=False)
    _diversity: Diversity | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_counts(
            self, "target queries_per_call calls_per_chunk patience max_tokens passage_characters", least=1
        )
        check_counts(self, "neighbours examples_per_call repairs temperature completion_temperature", least=0)
        for name in ("personas", "difficulties"):
            if not getattr(self, name):
                raise ConfigError(f"synthesis.{name} is empty: name at least one.")
        if not 0 < self.expected_yield <= 1:
            raise ConfigError(
                f"synthesis.expected_yield={self.expected_yield}: give a share above 0, at most 1."
            )
        check_mix(self.mix)

    def pairs(
        self,
        chunks: Sequence[Chunk],
        documents: Mapping[str, Document],
        *,
        llm: LLM | None = None,
        index: Index | None = None,
    ) -> Iterator[Pair]:
        """Yield accepted pairs, then held-out ones; the same answers give the same pairs in the same order.

        Args:
            chunks: The corpus.
            documents: Their headers, for the held-out queries.
            llm: Writes the queries.
            index: Finds context and checks the round trip; None takes chunks that stand side by side, and
                leaves the round trip out.

        Raises:
            ConfigError: There is no language model, or a prompt or an examples file is wrong.
            EmbexpError: Not one query was accepted, or the language model gave up.
        """
        if llm is None:
            raise ConfigError(
                "synthesis=rag needs a language model: choose one, as in llm=groq or llm=llamacpp."
            )
        if index is None and self.filters.round_trip:
            log.warning(
                "No index was given: the round trip is left out, and context comes from the same document."
            )
        serial = SerialIndex(index) if index is not None else None
        self._rounds = self._new_rounds(chunks, llm, serial)
        self._diversity = Diversity(
            chunks=len(chunks), documents=len({chunk.document_id for chunk in chunks})
        )
        for pair in self._rounds.pairs():
            self._diversity.add(pair)
            yield pair
        tell(self._rounds)
        held_out = held_out_pairs(chunks, documents, seed=self.seed) if self.held_out else ()
        for self._held_out, pair in enumerate(held_out, start=1):
            yield pair

    def plan(self, chunks: Sequence[Chunk], *, chat: bool = True, index: Index | None = None) -> Plan:
        """Return what writing the pairs will ask, without asking anything.

        Args:
            chunks: The corpus.
            chat: Whether the model chats; else it completes text.
            index: Finds the context that prompts will show.
        """
        source = self._source(chunks, index, chat=chat)
        per_call = self.queries_per_call if chat else 1
        capacity = len(source.order) * self.calls_per_chunk * per_call
        calls = requests_for(self.target, per_call, self.expected_yield)
        return Plan(
            requests=min(calls, len(source.order) * self.calls_per_chunk),
            completion_tokens=self.queries_per_call * TOKENS_PER_QUERY if chat else COMPLETED_TOKENS,
            first=lambda: (task.request() for task in source.fresh().tasks(self.target, Known())),
            capacity=capacity,
        )

    def report(self) -> dict[str, Any]:
        """Return what the last writing did: counts, funnel, usage and diversity."""
        if self._rounds is None or self._diversity is None:
            return {}
        return {**self._rounds.report(), "held_out": self._held_out, "diversity": self._diversity.report()}

    def fingerprint(self) -> str:
        """Return a digest of the files that shape the pairs: templates and examples."""
        files = (
            [sha256_of_file(Path(self.examples))] if self.examples and Path(self.examples).is_file() else []
        )
        return sha256_of(Prompts(self.prompts).fingerprint(), files)

    def _new_rounds(self, chunks: Sequence[Chunk], llm: LLM, index: Index | None) -> Rounds:
        if self.filters.judge and not llm.chat:
            raise ConfigError(
                f"synthesis.filters.judge={self.filters.judge} needs a chat model, and {llm.name} only "
                "completes text: set it to null."
            )
        tally = Tally(examples_kept=self.filters.examples)
        judge = Judge(llm, Prompts(self.prompts), self.filters.judge) if self.filters.judge else None
        source = self._source(chunks, index, chat=llm.chat)
        seen = [example.query for example in source.asking.examples]
        filters = self.filters.build(index=index, completes=not llm.chat, seen=seen)
        return Rounds(
            llm=llm,
            source=source,
            funnel=Funnel(filters, tally),
            target=self.target,
            repairs=self.repairs,
            patience=self.patience,
            judge=judge,
        )

    def _source(self, chunks: Sequence[Chunk], index: Index | None, *, chat: bool) -> ChunkSource:
        limit = self.passage_characters if chat else min(self.passage_characters, COMPLETION_CHARACTERS)
        asking = Asking(
            prompts=Prompts(self.prompts),
            language=self.language,
            seed=self.seed,
            max_tokens=self.max_tokens,
            temperature=self.temperature if chat else self.completion_temperature,
            passage_characters=limit,
            examples=self._examples(chat=chat),
            examples_per_call=self.examples_per_call,
            neighbours=Neighbours(chunks, index, self.neighbours if chat else 0),
            evidence=self.filters.evidence,
        )
        order = even_order(chunks, seed=self.seed, least_words=self.least_passage_words)
        return ChunkSource(self, asking, order, chat)

    def _examples(self, *, chat: bool) -> Sequence[Example]:
        if self.examples:
            return read_examples(Path(self.examples), passages=not chat)
        return [] if chat else read_examples(default_folder() / "completion_examples.jsonl", passages=True)


@dataclass
class ChunkSource:
    """Hands out tasks chunk by chunk in an even order; after the last chunk it begins a new turn."""

    settings: RagSynthesis
    asking: Asking
    order: Sequence[Chunk]
    chat: bool
    given: int = 0

    @cached_property
    def per_call(self) -> int:
        """How many queries one request asks for."""
        return self.settings.queries_per_call if self.chat else 1

    def fresh(self) -> ChunkSource:
        """Return the source as it was at the beginning."""
        return ChunkSource(self.settings, self.asking, self.order, self.chat)

    def tasks(self, queries: int, known: Known) -> list[Task]:
        """Return tasks for about this many queries.

        A round asks a chat model about each chunk once, so that its prompt can name what is there already.
        """
        count = math.ceil(queries / self.per_call)
        left = len(self.order) * self.settings.calls_per_chunk - self.given
        if self.chat and self.order:
            left = min(left, len(self.order) - self.given % len(self.order))
        count = min(count, left)
        made = [self._task(at, known) for at in range(self.given, self.given + count)]
        self.given += count
        return made

    def _task(self, at: int, known: Known) -> Task:
        turn, place = divmod(at, len(self.order))
        chunk, settings = self.order[place], self.settings
        if not self.chat:
            slot = Slot(number=1, kind="question", persona="", difficulty="")
            return CompletingTask(self.asking, chunk, (slot,), turn)
        asked = slots(
            settings.seed,
            chunk.id,
            turn,
            count=self.per_call,
            mix=settings.mix,
            personas=settings.personas,
            difficulties=settings.difficulties,
        )
        return GroundedTask(self.asking, chunk, tuple(asked), known.at(chunk.id), turn)

    def exhausted(self) -> str:
        """Say that every chunk had its turns."""
        if not self.order:
            return (
                f"No chunk has {self.settings.least_passage_words} words or more: lower "
                "synthesis.least_passage_words, or use longer chunks."
            )
        return (
            f"All {len(self.order):,} chunks were asked about {self.settings.calls_per_chunk} times: raise "
            "synthesis.calls_per_chunk or synthesis.queries_per_call, loosen synthesis.filters, or add "
            "documents, and run the same command again; what was answered is not asked twice."
        )
