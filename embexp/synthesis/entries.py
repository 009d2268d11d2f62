"""``synthesis=entries``: a whole training set from the description of a domain, without any documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval

from embexp.data.records import Chunk, Document, Generator, Pair
from embexp.errors import ConfigError
from embexp.llm.llm import LLM
from embexp.ranges import Count, ShareAboveZero
from embexp.retrieval.index import Index
from embexp.storage.files import sha256_of
from embexp.synthesis.answers import INTEGER, TEXT, list_schema, object_schema
from embexp.synthesis.diversity import Diversity
from embexp.synthesis.languages import DETECTED, in_words, language_of_text, language_problem, named_language
from embexp.synthesis.prompts import Example, Prompts, domain_text, read_examples
from embexp.synthesis.query_text import chatter, tidy_passage, tidy_query
from embexp.synthesis.rounds import Known, Turns
from embexp.synthesis.synthesis import Plan
from embexp.synthesis.tasks import ChatTask, Problem, Slot, item_problem
from embexp.synthesis.taxonomy import Taxonomy, Topic
from embexp.synthesis.writing import WritingSettings

_TOKENS_PER_WORD = 1.4
_Words = Annotated[int, Interval(ge=1, le=1_000_000)]
_SCHEMA = list_schema("entries", object_schema(number=INTEGER, query=TEXT, positive=TEXT, negative=TEXT))
_FIELDS: Mapping[str, type] = {"query": str, "positive": str, "negative": str}
_ANGLES = (
    "what it is and how it works",
    "how to do it, step by step",
    "what goes wrong and how to put it right",
    "rules, limits, prices, dates and other figures",
    "choices between alternatives",
    "unusual cases and exceptions",
)


@dataclass(frozen=True)
class TopicEntries:
    """A topic as the subject of a chat task.

    Args:
        topic: The topic.
        domain: The description of the domain.
        words: The fewest and the most words of a passage.
        language: The code of the language that entries must be in; None accepts any.
    """

    topic: Topic
    domain: str
    words: tuple[int, int]
    language: str | None = None
    kind: str = "entries"
    list_name: str = "entries"

    @property
    def schema(self) -> Mapping[str, object]:
        """The JSON schema of the answer."""
        return _SCHEMA

    @property
    def key(self) -> str:
        """The topic's name with its area."""
        return self.topic.key

    @property
    def title(self) -> str:
        """The topic's name with its area."""
        return f"the topic {self.topic.key}"

    def values(self, shown: Sequence[Slot], missing: Sequence[Slot], turn: int) -> dict[str, object]:  # noqa: ARG002
        """Return the slots, the domain and the topic; the turn gives the angle."""
        return {
            "slots": shown,
            "domain": self.domain,
            "topic": self.topic,
            "angle": _ANGLES[turn % len(_ANGLES)],
            "words": {"fewest": self.words[0], "most": self.words[1]},
        }

    def read(
        self, slots: Sequence[Slot], items: Mapping[int, Any], generator: Generator
    ) -> Iterator[tuple[Slot, Pair | Problem]]:
        """Yield a pair or a problem for each slot."""
        for slot in slots:
            yield slot, self._read_item(slot, items.get(slot.number), generator)

    def _read_item(self, slot: Slot, item: Any, generator: Generator) -> Problem | Pair:
        if problem := item_problem(slot, item, _FIELDS):
            return problem
        query = tidy_query(item["query"])
        positive, negative = tidy_passage(item["positive"]), tidy_passage(item["negative"])
        for name, text in (("query", query), ("positive", positive), ("negative", negative)):
            if not text:
                return Problem(slot, "schema", f"{name} is blank", str(item)[:200])
            if why := chatter(text):
                return Problem(
                    slot, "chatter", f"{name} is not what a person would write ({why})", text[:200]
                )
            if why := language_problem(text, self.language):
                return Problem(slot, "language", f"{name}: {why}", text[:200])
        identity = sha256_of("entries", query, positive)[:16]
        return Pair(
            id=identity,
            query=query,
            positive=positive,
            negatives=(negative,),
            document_id=f"entry-{identity}",
            context_ids=(self.key,),
            generator=generator,
        )

    def smaller(self, task: ChatTask) -> ChatTask | None:
        """Drop the known queries and the answer to repair."""
        if task.bad is None and not task.known:
            return None
        return replace(task, known=(), bad=None, all_slots=task.slots)


@dataclass(kw_only=True)
class EntriesSynthesis(WritingSettings):
    """Writes exactly ``target`` entries, each a query, a passage that answers it, and a hard negative.

    The model breaks the domain into areas and topics; each topic in turn gets a few entries of drawn kinds,
    personas and difficulties, until enough are accepted. The options of ``WritingSettings`` and:

    Args:
        domain: A description, or a text file with one; the default is a worked example.
        entries_per_call: Entries per request.
        areas: The number of areas in the domain.
        topics_per_area: The number of topics in each area.
        passage_words: The fewest and the most words of a passage.
    """

    domain: str = "domain_example.md"
    target: Count = 5000
    entries_per_call: Annotated[int, Interval(ge=1, le=1_000)] = 5
    areas: Annotated[int, Interval(ge=1, le=10_000)] = 20
    topics_per_area: Annotated[int, Interval(ge=1, le=10_000)] = 25
    language: str = "the language of the description of the domain"
    passage_words: list[_Words] = field(default_factory=lambda: [50, 130])
    patience: Count = 500
    temperature: Annotated[float, Interval(ge=0, le=10)] = 0.9
    max_tokens: Annotated[int, Interval(ge=1, le=10_000_000)] = 4096
    expected_yield: ShareAboveZero = 0.85

    def __post_init__(self) -> None:
        super().__post_init__()
        words = self.passage_words
        if len(words) != 2 or words[0] > words[1]:
            raise ConfigError(
                f"synthesis.passage_words={words}: give the fewest and the most words, as [50, 130]."
            )
        if self.mix.get("multi_hop"):
            raise ConfigError("synthesis.mix.multi_hop: an entry has one passage; set it to 0.")

    @property
    def invents_corpus(self) -> bool:
        """True: the entries' passages are the corpus."""
        return True

    def fingerprint(self) -> str:
        """Return a digest of the files that shape the entries: templates, examples and domain."""
        return sha256_of(super().fingerprint(), domain_text(self.domain))

    def pairs(
        self,
        chunks: Sequence[Chunk] = (),
        documents: Mapping[str, Document] | None = None,
        *,
        llm: LLM | None = None,
        index: Index | None = None,
    ) -> Iterator[Pair]:
        """Yield accepted entries; the same answers give the same entries in the same order.

        Args:
            chunks: Not used.
            documents: Not used.
            llm: A chat model; it writes everything.
            index: Not used.

        Raises:
            ConfigError: There is no chat model, or a prompt, the domain or an examples file is wrong.
            EmbexpError: No entry was accepted, or the language model gave up.
        """
        del chunks, documents, index
        self.filters.check()
        if llm is None or not llm.chat:
            why = f"{llm.name} only completes text" if llm else "there is none"
            raise ConfigError(f"synthesis=entries needs a chat model, and {why}: choose one, as in llm=groq.")
        self._rounds = None
        taxonomy = self._taxonomy(llm)
        topics = taxonomy.read()
        examples = self._examples()
        rounds = self._new_rounds(
            llm, self._turns(topics, examples), examples, Diversity(topics=len(topics)), passages=True
        )
        rounds.requests, rounds.spent = taxonomy.requests, taxonomy.spent
        self._rounds = rounds
        yield from rounds.pairs()

    def documents(self, pairs: Iterable[Pair]) -> Iterator[Document]:
        """Yield the corpus behind the entries: a document for each positive and each negative.

        The positive has the pair's own document id, its negatives ``ID-n1``, ``ID-n2`` …; none has a title,
        so that a chunk's passage is the text itself.
        """
        for pair in pairs:
            metadata = {"topic": pair.context_ids[0] if pair.context_ids else ""}
            for number, text in enumerate((pair.positive, *pair.negatives)):
                name = f"{pair.document_id}-n{number}" if number else pair.document_id
                yield Document(id=name, text=text, source="entries", metadata=metadata)

    def plan(self, chunks: Sequence[Chunk] = (), *, chat: bool = True, index: Index | None = None) -> Plan:
        """Return the requests that will be made, without making any; made-up topics stand in for real ones.

        Args:
            chunks: Not used.
            chat: Must be true: a model that only completes text cannot write entries.
            index: Not used.
        """
        del chunks, index
        if not chat:
            raise ConfigError("synthesis=entries needs a chat model: choose one, as in llm=groq.")
        per_entry = (2 * sum(self.passage_words) / 2 + 20) * _TOKENS_PER_WORD
        sentence = "A sentence of about fifteen words on what falls under it."
        count = self.areas * self.topics_per_area
        topics = [Topic(f"a topic of four words {at}", sentence, "an area") for at in range(count)]
        examples = self._examples()
        return Plan(
            target=self.target,
            requests=self._expected_calls(self.entries_per_call) + 1 + self.areas,
            completion_tokens=self.entries_per_call * per_entry,
            first=lambda: (
                task.request() for task in self._turns(topics, examples).tasks(self.target, Known())
            ),
        )

    def _taxonomy(self, llm: LLM) -> Taxonomy:
        return Taxonomy(
            llm=llm,
            prompts=Prompts(self.prompts),
            domain=domain_text(self.domain),
            language=in_words(self.language),
            areas=self.areas,
            topics=self.topics_per_area,
            seed=self.seed,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def _language(self, domain: str) -> str | None:
        """Return the code of the language that entries must be in, None where they may be in any."""
        if not self.filters.same_language:
            return None
        detected = language_of_text(domain) if self.language.startswith(DETECTED) else None
        return named_language(self.language) or detected

    def _examples(self) -> Sequence[Example]:
        return read_examples(Path(self.examples), passages=False) if self.examples else []

    def _turns(self, topics: Sequence[Topic], examples: Sequence[Example]) -> Turns[Topic]:
        settings = self._task_settings(examples, self.temperature)
        domain, (fewest, most) = domain_text(self.domain), self.passage_words
        language = self._language(domain)

        def task(topic: Topic, turn: int, known: Known) -> ChatTask:
            subject = TopicEntries(topic, domain, (fewest, most), language)
            slots = self._slots(topic.key, turn, self.entries_per_call)
            return ChatTask(settings, subject, slots, known.of(topic.key), turn)

        return Turns(
            subjects=topics,
            per_call=self.entries_per_call,
            task=task,
            exhausted="There are no topics: describe the domain more clearly in synthesis.domain.",
        )
