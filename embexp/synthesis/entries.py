"""A whole training set from the description of a domain: no knowledge base is needed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embexp.data.records import Chunk, Document, Pair
from embexp.errors import ConfigError
from embexp.llm.llm import LLM
from embexp.retrieval.index import Index
from embexp.storage.files import sha256_of, sha256_of_file
from embexp.synthesis.diversity import Diversity
from embexp.synthesis.examples import Example, read_examples
from embexp.synthesis.filters.funnel import Funnel, Tally
from embexp.synthesis.filters.judging import Judge
from embexp.synthesis.filters.options import Filters
from embexp.synthesis.invented import Inventing, InventingTask
from embexp.synthesis.mix import check_counts, check_mix, default_difficulties, default_personas, slots, tell
from embexp.synthesis.prompts import Prompts, domain_text
from embexp.synthesis.rounds import Known, Rounds, Task
from embexp.synthesis.synthesis import Plan, requests_for
from embexp.synthesis.taxonomy import Taxonomy, Topic

TOKENS_PER_WORD = 1.4


def _mix() -> dict[str, float]:
    return {
        "question": 4,
        "keyword": 2,
        "how_to": 2,
        "claim": 1,
        "scenario": 1,
        "comparison": 1,
        "misspelt": 1,
    }


def entry_documents(pairs: Iterable[Pair]) -> Iterator[Document]:
    """Yield the corpus behind entries: a document for each positive and each negative.

    Args:
        pairs: What ``EntriesSynthesis`` wrote.

    Yields:
        The positive under the pair's own document id, then its negatives as ``ID-n1``, ``ID-n2`` …; no
        titles, so that a chunk's passage is the text itself.
    """
    for pair in pairs:
        about = {"topic": pair.context_ids[0] if pair.context_ids else ""}
        yield Document(id=pair.document_id, text=pair.positive, source="entries", metadata=about)
        for number, negative in enumerate(pair.negatives, start=1):
            yield Document(
                id=f"{pair.document_id}-n{number}", text=negative, source="entries", metadata=about
            )


@dataclass(kw_only=True)
class EntriesSynthesis:
    """Writes exactly ``target`` entries, each a query, a passage that answers it, and a hard negative.

    The model breaks the domain into areas and topics; every topic in turn gets a few entries of drawn kinds,
    personas and difficulties, until enough are accepted.

    Args:
        domain: A description, or a text file with one; a worked example is the default.
        target: Accepted entries to write.
        entries_per_call: Entries that one request asks for.
        areas: How many areas to break the domain into.
        topics_per_area: How many topics to break each area into.
        mix: Kind of query -> its share; kinds are described in the prompt file kinds.jinja.
        personas: Who asks; in turn.
        difficulties: How hard; in turn, out of those that kinds.jinja describes.
        language: The language of the entries, as words in the prompt.
        passage_words: The fewest and the most words to ask for in a passage.
        examples: A JSON Lines file with queries of the user's own as examples of style.
        examples_per_call: How many of them a prompt shows.
        prompts: A folder with templates that replace ours.
        filters: The funnel; evidence and round trip have nothing to look at here.
        repairs: How often an unusable answer is asked for again, its faults named.
        patience: Entries asked for in a row without an accepted one, after which the writing ends.
        temperature: Of the model.
        max_tokens: The longest answer; a reasoning model needs room for its thoughts.
        expected_yield: The share of entries that will be accepted, for estimates alone.
        seed: Draws kinds and examples, and seeds the model.
    """

    domain: str = "domain_example.md"
    target: int = 5000
    entries_per_call: int = 5
    areas: int = 20
    topics_per_area: int = 25
    mix: dict[str, float] = field(default_factory=_mix)
    personas: list[str] = field(default_factory=default_personas)
    difficulties: list[str] = field(default_factory=default_difficulties)
    language: str = "the language of the description of the domain"
    passage_words: list[int] = field(default_factory=lambda: [50, 130])
    examples: str = ""
    examples_per_call: int = 4
    prompts: str = ""
    filters: Filters = field(default_factory=Filters)
    repairs: int = 1
    patience: int = 500
    temperature: float = 0.9
    max_tokens: int = 4096
    expected_yield: float = 0.85
    seed: int = 0
    _rounds: Rounds | None = field(default=None, init=False, repr=False, compare=False)
    _taxonomy: Taxonomy | None = field(default=None, init=False, repr=False, compare=False)
    _diversity: Diversity | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_counts(self, "target entries_per_call areas topics_per_area patience max_tokens", least=1)
        check_counts(self, "examples_per_call repairs temperature", least=0)
        words = self.passage_words
        if len(words) != 2 or not 0 < words[0] <= words[1]:
            raise ConfigError(
                f"synthesis.passage_words={words}: give the fewest and the most words, as [50, 130]."
            )
        if not 0 < self.expected_yield <= 1:
            raise ConfigError(
                f"synthesis.expected_yield={self.expected_yield}: give a share above 0, at most 1."
            )
        if not self.personas or not self.difficulties:
            raise ConfigError("synthesis.personas or synthesis.difficulties is empty: name at least one.")
        if self.mix.get("multi_hop"):
            raise ConfigError("synthesis.mix.multi_hop: an entry has one passage; set it to 0.")
        check_mix(self.mix)

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
            chunks: Not read.
            documents: Not read.
            llm: A chat model; it writes everything.
            index: Not read.

        Raises:
            ConfigError: There is no chat model, or a prompt, the domain or an examples file is wrong.
            EmbexpError: Not one entry was accepted, or the language model gave up.
        """
        del chunks, documents, index
        if llm is None or not llm.chat:
            found = f"{llm.name} only completes text" if llm else "there is none"
            raise ConfigError(
                f"synthesis=entries needs a chat model, and {found}: choose one, as in llm=groq."
            )
        self._rounds = self._diversity = None
        self._taxonomy = self._new_taxonomy(llm)
        topics = self._taxonomy.read()
        rounds = self._rounds = self._new_rounds(llm, topics)
        diversity = self._diversity = Diversity(topics=len(topics))
        for pair in rounds.pairs():
            diversity.add(pair)
            yield pair
        tell(rounds)

    def documents(self, pairs: Iterable[Pair]) -> Iterator[Document]:
        """Yield the corpus behind the entries; see ``entry_documents``."""
        return entry_documents(pairs)

    def plan(self, chunks: Sequence[Chunk] = (), *, chat: bool = True, index: Index | None = None) -> Plan:
        """Return what writing the entries will ask, without asking anything; topics are stood in for.

        Args:
            chunks: Not read.
            chat: Must be true: a model that only completes text cannot write entries.
            index: Not read.
        """
        del chunks, index
        if not chat:
            raise ConfigError("synthesis=entries needs a chat model: choose one, as in llm=groq.")
        calls = requests_for(self.target, self.entries_per_call, self.expected_yield)
        per_entry = (2 * sum(self.passage_words) / 2 + 20) * TOKENS_PER_WORD
        topics = [
            Topic(
                f"a topic of four words {at}",
                "A sentence of about fifteen words on what falls under it.",
                "an area",
            )
            for at in range(self.areas * self.topics_per_area)
        ]
        return Plan(
            requests=calls + 1 + self.areas,
            completion_tokens=self.entries_per_call * per_entry,
            first=lambda: (task.request() for task in self._source(topics).tasks(self.target, Known())),
        )

    def report(self) -> dict[str, Any]:
        """Return what the last writing did: counts, funnel, usage and diversity."""
        if self._rounds is None or self._diversity is None or self._taxonomy is None:
            return {}
        report = self._rounds.report()
        report["requests"] += self._taxonomy.requests
        for name in ("prompt_tokens", "completion_tokens", "usd"):
            report["usage"][name] += sum(getattr(usage, name) for usage in self._taxonomy.spent)
        return {**report, "diversity": self._diversity.report()}

    def fingerprint(self) -> str:
        """Return a digest of the files that shape the entries: templates, domain and examples."""
        files = (
            [sha256_of_file(Path(self.examples))] if self.examples and Path(self.examples).is_file() else []
        )
        return sha256_of(Prompts(self.prompts).fingerprint(), files, domain_text(self.domain))

    def _new_taxonomy(self, llm: LLM) -> Taxonomy:
        return Taxonomy(
            llm=llm,
            prompts=Prompts(self.prompts),
            domain=domain_text(self.domain),
            language=self.language,
            areas=self.areas,
            topics=self.topics_per_area,
            seed=self.seed,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def _new_rounds(self, llm: LLM, topics: Sequence[Topic]) -> Rounds:
        tally = Tally(examples_kept=self.filters.examples)
        source = self._source(topics)
        seen = [example.query for example in source.inventing.examples]
        return Rounds(
            llm=llm,
            source=source,
            funnel=Funnel(self.filters.build(index=None, passages=True, seen=seen), tally),
            target=self.target,
            repairs=self.repairs,
            patience=self.patience,
            judge=Judge(llm, Prompts(self.prompts), self.filters.judge) if self.filters.judge else None,
            place="topic",
        )

    def _source(self, topics: Sequence[Topic]) -> TopicSource:
        inventing = Inventing(
            prompts=Prompts(self.prompts),
            domain=domain_text(self.domain),
            language=self.language,
            seed=self.seed,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            words=(self.passage_words[0], self.passage_words[1]),
            examples=self._examples(),
            examples_per_call=self.examples_per_call,
        )
        return TopicSource(self, inventing, topics)

    def _examples(self) -> Sequence[Example]:
        return read_examples(Path(self.examples), passages=False) if self.examples else []


@dataclass
class TopicSource:
    """Hands out tasks topic by topic, without an end: each turn looks at a topic from another angle."""

    settings: EntriesSynthesis
    inventing: Inventing
    topics: Sequence[Topic]
    given: int = 0

    def tasks(self, queries: int, known: Known) -> list[Task]:
        """Return tasks for about this many entries; what is known is what was before the round."""
        count = math.ceil(queries / self.settings.entries_per_call)
        made = [self._task(at, known) for at in range(self.given, self.given + count)]
        self.given += count
        return made

    def _task(self, at: int, known: Known) -> Task:
        turn, place = divmod(at, len(self.topics))
        topic, settings = self.topics[place], self.settings
        asked = slots(
            settings.seed,
            topic.place,
            turn,
            count=settings.entries_per_call,
            mix=settings.mix,
            personas=settings.personas,
            difficulties=settings.difficulties,
        )
        return InventingTask(self.inventing, topic, tuple(asked), known.at(topic.place), turn)

    def exhausted(self) -> str:
        """Say that there is nothing to ask about; topics never run out."""
        return "There are no topics: describe the domain more clearly in synthesis.domain."
