"""Pairs without a language model: queries cut out of the documents, or picked from their words."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Literal, NamedTuple, TypeVar, get_args

from embexp.data.records import HELD_OUT, Chunk, Document, Generator, Pair
from embexp.errors import ConfigError
from embexp.llm.llm import LLM
from embexp.progress import track
from embexp.retrieval.index import Index
from embexp.storage.files import sha256_of
from embexp.synthesis.query_text import acceptable, clean, key, words
from embexp.synthesis.salience import Sentence, Terms, cosine, cut, sentences

log = logging.getLogger(__name__)


T = TypeVar("T")
GENERATOR = Generator(kind="extractive")


def _all_types() -> list[QueryType]:
    return list(get_args(QueryType))


def _most_human_types() -> list[QueryType]:
    return ["summary", "sentence"]


@dataclass(frozen=True, kw_only=True)
class Extractive:
    """Writes ``target`` pairs: mostly queries that people would ask, and some of the other kinds.

    Every document in turn gives a query of its most human kind (the first of ``held_out_types`` that
    it has); from the far end of the same order, every document in turn gives one of the other kinds.
    So a small target still asks about as many documents as it can, and any first part of what is
    yielded is balanced.

    Args:
        target: How many pairs to write in all.
        per_document: The most pairs that one document may give.
        held_out_share: The share of pairs of a document's most human kind, while there are any.
        query_types: The kinds of query to write.
        held_out_types: The kinds that may stand in dev and test, the most human first.
        max_query_words: A longer query is not used.
        min_passage_words: A passage that is shorter, once the query is cut out, is not used.
        seed: Draws the order of documents and chunks.
    """

    target: int = 2000
    per_document: int = 50
    held_out_share: float = 0.7
    query_types: list[QueryType] = field(default_factory=_all_types)
    held_out_types: list[QueryType] = field(default_factory=_most_human_types)
    max_query_words: int = 40
    min_passage_words: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("target", "per_document", "max_query_words", "min_passage_words"):
            if getattr(self, name) < 1:
                raise ConfigError(f"synthesis.{name}={getattr(self, name)}: give a whole number from 1 up.")
        if not 0 <= self.held_out_share <= 1:
            raise ConfigError(f"synthesis.held_out_share={self.held_out_share}: give a share from 0 to 1.")
        if not self.query_types:
            raise ConfigError(f"synthesis.query_types is empty: name at least one of {', '.join(KINDS)}.")
        for kind in [*self.query_types, *self.held_out_types]:
            if kind not in KINDS:
                raise ConfigError(f"synthesis.query_types: no kind {kind!r}; choose from {', '.join(KINDS)}.")

    @property
    def invents_corpus(self) -> bool:
        """False: the documents are the corpus."""
        return False

    def fingerprint(self) -> str:
        """Return an empty digest: the settings alone shape the pairs."""
        return ""

    def documents(self, pairs: Iterable[Pair]) -> Iterator[Document]:  # noqa: ARG002
        """Yield nothing: the documents are the corpus."""
        yield from ()

    def plan(self, chunks: Sequence[Chunk], *, chat: bool, index: Index | None = None) -> None:
        """Return None: no language model is used."""

    def report(self) -> Mapping[str, object]:
        """Return nothing."""
        return {}

    def pairs(
        self,
        chunks: Sequence[Chunk],
        documents: Mapping[str, Document],
        *,
        llm: LLM | None = None,  # noqa: ARG002
        index: Index | None = None,  # noqa: ARG002
    ) -> Iterator[Pair]:
        """Yield pairs in a fixed order: the same chunks, documents and seed give the same pairs.

        Args:
            chunks: The corpus.
            documents: The documents that the chunks were cut from, by id.
            llm: Not needed.
            index: Not needed.

        Yields:
            Pairs with distinct queries; ``positive`` is the passage without the query.
        """
        sources = self._sources(chunks, documents)
        human = _round_robin([partial(self._human, source) for source in sources])
        others = _round_robin(
            [partial(self._others, source, turn) for turn, source in enumerate(reversed(sources))]
        )
        kept = islice(self._kept(_mixed(human, others, self.held_out_share)), self.target)
        types: Counter[str] = Counter()
        for pair in track(kept, "Writing pairs", total=self.target):
            types[pair.query_type] += 1
            yield pair
        mix = ", ".join(f"{count:,} {kind}" for kind, count in types.most_common())
        log.info("Wrote %s pairs without a language model: %s.", f"{types.total():,}", mix or "none")

    def _sources(self, chunks: Sequence[Chunk], documents: Mapping[str, Document]) -> list[Source]:
        by_document: dict[str, list[Chunk]] = defaultdict(list)
        for chunk in chunks:
            by_document[chunk.document_id].append(chunk)
        terms = Terms.read(track((chunk.passage for chunk in chunks), "Weighing words", total=len(chunks)))
        shared = headings_of_several(chunks) | summaries_of_several(documents.values(), chunks)
        return [
            Source(
                document=documents.get(document_id, Document(id=document_id, text="")),
                chunks=sorted(by_document[document_id], key=lambda chunk: chunk.position),
                shuffled=sorted(by_document[document_id], key=lambda chunk: self._draw(chunk.id)),
                terms=terms,
                shared_queries=shared,
                most_words=self.max_query_words,
            )
            for document_id in sorted(by_document, key=self._draw)
        ]

    def _draw(self, name: str) -> tuple[str, str]:
        return sha256_of(self.seed, name), name

    def _human(self, source: Source) -> Iterator[Pair]:
        kind = self._most_human(source)
        return self._candidates(kind, source) if kind else iter(())

    def _others(self, source: Source, turn: int) -> Iterator[Pair]:
        human = self._most_human(source)
        kinds = [kind for kind in self.query_types if kind != human]
        first = turn % len(kinds) if kinds else 0
        rotated = [*kinds[first:], *kinds[:first]]
        return _round_robin([partial(self._candidates, kind, source) for kind in rotated])

    def _most_human(self, source: Source) -> QueryType | None:
        asked = (kind for kind in self.held_out_types if kind in self.query_types)
        return next((kind for kind in asked if any(True for _ in self._candidates(kind, source))), None)

    def _candidates(self, kind: QueryType, source: Source) -> Iterator[Pair]:
        for candidate in KINDS[kind](source):
            if len(words(candidate.positive)) >= self.min_passage_words:
                yield _pair(kind, candidate)

    def _kept(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """Pass on pairs with a new query, from documents that have not yet given their share."""
        seen: set[str] = set()
        given: Counter[str] = Counter()
        for pair in pairs:
            query = key(pair.query)
            if query in seen or given[pair.document_id] >= self.per_document:
                continue
            seen.add(query)
            given[pair.document_id] += 1
            yield pair


def _pair(kind: QueryType, candidate: Candidate) -> Pair:
    query, chunk, positive = candidate
    return Pair(
        id=sha256_of(kind, chunk.id, query)[:16],
        query=query,
        positive=positive,
        document_id=chunk.document_id,
        chunk_id=chunk.id,
        query_type=kind,
        generator=GENERATOR,
    )


def _round_robin(openers: Sequence[partial[Iterator[T]]]) -> Iterator[T]:
    """Take one item from each in turn until all are empty; each is opened when its first turn comes."""
    waiting: list[Iterator[T]] = []
    for opener in openers:
        stream = opener()
        for item in islice(stream, 1):
            yield item
            waiting.append(stream)
    while waiting:
        left: list[Iterator[T]] = []
        for stream in waiting:
            for item in islice(stream, 1):
                yield item
                left.append(stream)
        waiting = left


def _mixed(one: Iterator[T], other: Iterator[T], share: float) -> Iterator[T]:
    """Take ``share`` of the items from one stream and the rest from the other; then what either has left."""
    taken = total = 0
    while True:
        from_one = taken + 1 <= share * (total + 1)
        item = list(islice(one if from_one else other, 1))
        if not item:
            yield from (other if from_one else one)
            return
        yield from item
        taken += from_one
        total += 1


HELD_OUT_GENERATOR = Generator(kind=HELD_OUT)
ENOUGH = 1500
"""Queries to write where the documents are fewer; a tenth and a fifth of them are asked."""
MOST = 10
"""The most that one document gives, in turn with the others."""


def held_out_pairs(
    chunks: Sequence[Chunk], documents: Mapping[str, Document], *, seed: int
) -> Iterator[Pair]:
    """Yield queries by turns over the documents: summaries, and the most telling sentences of chunks.

    A model that is tuned on a language model's questions and tested on more of them may have learnt no
    more than how that model asks. These queries come from another hand.

    Args:
        chunks: The corpus.
        documents: The documents' headers by id.
        seed: Draws the order of documents and chunks.
    """
    extractive = Extractive(
        target=max(len({chunk.document_id for chunk in chunks}), ENOUGH),
        per_document=MOST,
        held_out_share=1.0,
        query_types=["summary", "sentence"],
        seed=seed,
    )
    for pair in extractive.pairs(chunks, documents):
        # An id of its own: another synthesis may have written the same pair for training.
        yield replace(pair, id=sha256_of(HELD_OUT, pair.id)[:16], generator=HELD_OUT_GENERATOR)


QueryType = Literal["summary", "title", "heading", "sentence", "keywords"]
PATH = " > "
LEAST_WORDS: Mapping[str, int] = {"summary": 2, "title": 1, "heading": 2, "sentence": 4, "keywords": 3}
MOST_KEYWORDS = 6
MOST_LOOKED_AT = 500
"""Chunks of one document whose sentences are compared with all its others: a log file has thousands."""


class Candidate(NamedTuple):
    """A query, the chunk it comes from, and that chunk's passage without the query."""

    query: str
    chunk: Chunk
    positive: str


@dataclass(frozen=True)
class Source:
    """A document with its chunks, in reading order and in the order in which they are asked about."""

    document: Document
    chunks: Sequence[Chunk]
    shuffled: Sequence[Chunk]
    terms: Terms
    shared_queries: frozenset[str]
    most_words: int

    def fits(self, kind: QueryType, query: str) -> bool:
        """Say whether a cleaned text can be a query of this kind."""
        return acceptable(query, least=LEAST_WORDS[kind], most=self.most_words)


def summaries(source: Source) -> Iterator[Candidate]:
    """The sentence that the reader has cut out of the document, for its first chunk.

    A sentence that sums up several documents ("Emit a record.") asks for none of them and is left out.
    """
    query = clean(source.document.metadata.get("summary", ""))
    if key(query) not in source.shared_queries and source.fits("summary", query):
        yield Candidate(query, source.chunks[0], source.chunks[0].passage)


def titles(source: Source) -> Iterator[Candidate]:
    """The document's title, for the body of its first chunk."""
    first = source.chunks[0]
    query = clean(source.document.title)
    if query and source.fits("title", query):
        yield Candidate(query, first, _without_heading(first.text, query))


def headings(source: Source) -> Iterator[Candidate]:
    """The last heading above a chunk, for its body under the headings that remain.

    A heading that several documents share ("See also") asks for none of them and is left out.
    """
    for chunk in source.shuffled:
        above, _, last = chunk.title.rpartition(PATH)
        query = clean(last)
        if above and key(query) not in source.shared_queries and source.fits("heading", query):
            yield Candidate(query, chunk, f"{above}\n{_without_heading(chunk.text, query)}")


def salient_sentences(source: Source) -> Iterator[Candidate]:
    """The sentence nearest to the rest of its chunk, for that rest.

    Nearest is the TF-IDF cosine: centroid-based salience, Radev et al., Information Processing &
    Management 40 (2004). A sentence that also stands in another chunk of the document (overlapping
    windows) is passed over, since the corpus would go on holding it.
    """
    keys = {chunk.id: key(chunk.text) for chunk in source.chunks}
    for chunk in source.shuffled[:MOST_LOOKED_AT]:
        others = [text for chunk_id, text in keys.items() if chunk_id != chunk.id]
        best = _most_salient(chunk.text, source, others)
        if best is not None:
            rest = cut(chunk.text, best)
            yield Candidate(best.text, chunk, f"{chunk.title}\n{rest}" if chunk.title else rest)


def keyword_queries(source: Source) -> Iterator[Candidate]:
    """Three to six of a chunk's most telling words, for its passage."""
    for chunk in source.shuffled:
        # The chunk's own id draws the number, so that it depends on nothing else.
        count = 3 + int(sha256_of(chunk.id)[:8], 16) % (MOST_KEYWORDS - 2)
        query = " ".join(source.terms.keywords(chunk.passage, count))
        if source.fits("keywords", query):
            yield Candidate(query, chunk, chunk.passage)


KINDS: Mapping[QueryType, Callable[[Source], Iterator[Candidate]]] = {
    "summary": summaries,
    "title": titles,
    "heading": headings,
    "sentence": salient_sentences,
    "keywords": keyword_queries,
}


def headings_of_several(chunks: Iterable[Chunk]) -> frozenset[str]:
    """Return the last headings, as ``key`` writes them, that chunks of more than one document stand under."""
    owners: dict[str, set[str]] = defaultdict(set)
    for chunk in chunks:
        if PATH in chunk.title:
            owners[key(clean(chunk.title.rpartition(PATH)[2]))].add(chunk.document_id)
    return frozenset(heading for heading, documents in owners.items() if len(documents) > 1)


def summaries_of_several(documents: Iterable[Document], chunks: Iterable[Chunk]) -> frozenset[str]:
    """Return the summaries, as ``key`` writes them, that sum up, or stand in, more than one document."""
    owners: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        if summary := document.metadata.get("summary"):
            owners[key(clean(summary))].add(document.id)
    for chunk in chunks:
        for sentence in sentences(chunk.text):
            if (found := key(sentence.text)) in owners:
                owners[found].add(chunk.document_id)
    return frozenset(summary for summary, found in owners.items() if len(found) > 1)


def _most_salient(text: str, source: Source, others: Sequence[str]) -> Sentence | None:
    best, best_score = None, 0.0
    for sentence in sentences(text):
        if not source.fits("sentence", sentence.text):
            continue
        rest = cut(text, sentence)
        score = cosine(source.terms.weights(sentence.text), source.terms.weights(rest))
        found = key(sentence.text)
        if score > best_score and not any(found in other for other in [key(rest), *others]):
            best, best_score = sentence, score
    return best


def _without_heading(text: str, heading: str) -> str:
    """Drop a first line that only repeats the heading."""
    first, _, rest = text.partition("\n")
    return rest.lstrip() if key(clean(first)) == key(heading) else text
