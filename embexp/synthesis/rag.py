"""``synthesis=rag``: queries about your documents, by a language model that sees a passage in context."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from embexp.data.records import Chunk, Document, Pair
from embexp.data.words import words
from embexp.errors import ConfigError
from embexp.llm.llm import LLM
from embexp.ranges import Count, NonNegative, ShareAboveZero
from embexp.retrieval.index import Index
from embexp.storage.files import sha256_of
from embexp.synthesis.diversity import Diversity
from embexp.synthesis.extractive import held_out_pairs
from embexp.synthesis.grounded import QUERY_CHARACTERS, CompletingTask, Neighbours, Passage, SerialIndex
from embexp.synthesis.languages import DETECTED, DocumentLanguages, named_language
from embexp.synthesis.prompts import Example, default_folder, read_examples
from embexp.synthesis.rounds import Known, Turns
from embexp.synthesis.synthesis import Plan
from embexp.synthesis.tasks import ChatTask, Slot, Task
from embexp.synthesis.writing import WritingSettings

log = logging.getLogger(__name__)


_TOKENS_PER_QUERY = 85
_COMPLETED_TOKENS = 18
_COMPLETION_CHARACTERS = 700


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
class RagSynthesis(WritingSettings):
    """Writes ``target`` pairs with a language model, grounded in passages that retrieval chose.

    The options of ``WritingSettings`` and:

    Args:
        queries_per_call: Queries per request; a model that only completes text writes one.
        calls_per_chunk: The most requests about one chunk, without repairs; chunks times calls bound the
            number of pairs.
        neighbours: The number of other passages in the prompt, as context.
        completion_temperature: The temperature of a model that only completes text, which needs a lower one.
        passage_characters: A longer passage is cut in the prompt.
        least_passage_words: Chunks with fewer words are left out.
        held_out: Whether to add queries in the authors' own words, for dev and test alone.
    """

    target: Count = 2000
    queries_per_call: Annotated[int, Interval(ge=1, le=1_000)] = 5
    calls_per_chunk: Annotated[int, Interval(ge=1, le=1_000)] = 4
    mix: dict[str, NonNegative] = field(default_factory=_mix)
    language: str = "the language of passage 1"
    neighbours: Annotated[int, Interval(ge=0, le=1_000)] = 2
    patience: Count = 400
    temperature: Annotated[float, Interval(ge=0, le=10)] = 0.8
    completion_temperature: Annotated[float, Interval(ge=0, le=10)] = 0.3
    max_tokens: Annotated[int, Interval(ge=1, le=10_000_000)] = 2048
    passage_characters: Annotated[int, Interval(ge=1, le=10_000_000)] = 6000
    least_passage_words: Annotated[int, Interval(ge=0, le=1_000_000)] = 8
    expected_yield: ShareAboveZero = 0.75
    held_out: bool = True
    _held_out: int = field(default=0, init=False, repr=False, compare=False)

    @property
    def invents_corpus(self) -> bool:
        """False: the documents are the corpus."""
        return False

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
            index: Finds context and checks the round trip. Without one, context comes from the same document
                and the round trip is skipped.

        Raises:
            ConfigError: There is no language model, or a prompt or an examples file is wrong.
            EmbexpError: No query was accepted, or the language model gave up.
        """
        llm = self._checked(llm)
        self.filters.check()
        if index is None and self.filters.round_trip:
            log.warning(
                "There is no index: the round-trip check is skipped, and context is from the same document."
            )
        serial = SerialIndex(index) if index is not None else None
        examples = self._examples(chat=llm.chat)
        turns = self._turns(chunks, serial, examples, chat=llm.chat)
        diversity = Diversity(chunks=len(chunks), documents=len({chunk.document_id for chunk in chunks}))
        self._rounds = self._new_rounds(llm, turns, examples, diversity, index=serial)
        yield from self._rounds.pairs()
        held_out = held_out_pairs(chunks, documents, seed=self.seed) if self.held_out else ()
        for self._held_out, pair in enumerate(held_out, start=1):
            yield pair

    def _checked(self, llm: LLM | None) -> LLM:
        if llm is None:
            raise ConfigError(
                "synthesis=rag needs a language model: choose one, as in llm=groq or llm=llamacpp."
            )
        if self.filters.judge and not llm.chat:
            raise ConfigError(
                f"synthesis.filters.judge={self.filters.judge} needs a chat model, and {llm.name} only "
                "completes text: set it to null."
            )
        return llm

    def documents(self, pairs: Iterable[Pair]) -> Iterator[Document]:  # noqa: ARG002
        """Yield nothing: the documents are the corpus."""
        yield from ()

    def plan(self, chunks: Sequence[Chunk], *, chat: bool = True, index: Index | None = None) -> Plan:
        """Return the requests that will be made, without making any.

        Args:
            chunks: The corpus.
            chat: Whether the model chats; else it completes text.
            index: Finds the context in the prompts.
        """
        examples = self._examples(chat=chat)
        turns = self._turns(chunks, index, examples, chat=chat)
        most = len(turns.subjects) * self.calls_per_chunk
        return Plan(
            target=self.target,
            requests=min(self._expected_calls(turns.per_call), most),
            completion_tokens=self.queries_per_call * _TOKENS_PER_QUERY if chat else _COMPLETED_TOKENS,
            first=lambda: (task.request() for task in turns.restarted().tasks(self.target, Known())),
            capacity=most * turns.per_call,
        )

    def report(self) -> dict[str, Any]:
        """Return counts, filter results, usage and diversity of the last run; empty before the first."""
        report = super().report()
        return {**report, "held_out": self._held_out} if report else {}

    def _examples(self, *, chat: bool) -> Sequence[Example]:
        if self.examples:
            return read_examples(Path(self.examples), passages=not chat)
        return [] if chat else read_examples(default_folder() / "completion_examples.jsonl", passages=True)

    def _turns(
        self, chunks: Sequence[Chunk], index: Index | None, examples: Sequence[Example], *, chat: bool
    ) -> Turns[Chunk]:
        order = even_order(chunks, seed=self.seed, least_words=self.least_passage_words)
        neighbours = Neighbours(chunks, index, self.neighbours)
        settings = self._task_settings(examples, self.temperature if chat else self.completion_temperature)
        languages = self._languages(order)

        def chat_task(chunk: Chunk, turn: int, known: Known) -> Task:
            language = languages.of(chunk.document_id) if languages else None
            passage = Passage(chunk, neighbours, self.passage_characters, self.filters.evidence, language)
            slots = self._slots(chunk.id, turn, self.queries_per_call)
            return ChatTask(settings, passage, slots, known.of(chunk.id), turn)

        def completing_task(chunk: Chunk, turn: int, known: Known) -> Task:  # noqa: ARG001
            slot = Slot(number=1, kind="question", persona="", difficulty="")
            characters = min(self.passage_characters, _COMPLETION_CHARACTERS)
            language = languages.of(chunk.document_id) if languages else None
            return CompletingTask(settings, chunk, (slot,), turn, characters, language)

        return Turns(
            subjects=order,
            per_call=self.queries_per_call if chat else 1,
            task=chat_task if chat else completing_task,
            exhausted=self._exhausted(len(order)),
            most=self.calls_per_chunk,
            round_per_turn=chat,
        )

    def _languages(self, chunks: Sequence[Chunk]) -> DocumentLanguages | None:
        """Return the language of each document, None where queries may be in any."""
        forced = named_language(self.language)
        detected = forced is not None or self.language.startswith(DETECTED)
        return DocumentLanguages(chunks, forced) if self.filters.same_language and detected else None

    def _exhausted(self, chunks: int) -> str:
        if not chunks:
            return (
                f"No chunk has {self.least_passage_words} words or more: lower "
                "synthesis.least_passage_words, or use longer chunks."
            )
        return (
            f"All {chunks:,} chunks were asked about {self.calls_per_chunk} times: raise "
            "synthesis.calls_per_chunk or synthesis.queries_per_call, loosen synthesis.filters, or add "
            "documents, and run the same command again; requests with a recorded answer are not sent twice."
        )


def even_order(chunks: Sequence[Chunk], *, seed: int, least_words: int) -> list[Chunk]:
    """Return chunks by turns over documents: one of each, then a second of each, and so on.

    Documents and their chunks are ordered by a digest of their ids, so that adding or removing a document
    leaves the order of the others as it was.

    Args:
        chunks: The corpus.
        seed: Draws the order.
        least_words: Chunks with fewer words are left out.
    """
    by_document: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        if len(words(chunk.text[:QUERY_CHARACTERS])) >= least_words:
            by_document[chunk.document_id].append(chunk)
    for own in by_document.values():
        own.sort(key=lambda chunk: sha256_of(seed, chunk.id))
    documents = sorted(by_document, key=lambda document: sha256_of(seed, document))
    longest = max(map(len, by_document.values()), default=0)
    return [
        by_document[document][turn]
        for turn in range(longest)
        for document in documents
        if turn < len(by_document[document])
    ]
