"""``synthesis=extractive``: queries cut out of the documents, or picked from their words."""

from __future__ import annotations

import logging
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Annotated, Literal, NamedTuple, TypeVar

from annotated_types import Interval

from embexp.data.records import EXTRACTIVE, HELD_OUT, Chunk, Document, Generator, Pair
from embexp.data.words import unspaced, words
from embexp.errors import ConfigError
from embexp.llm.llm import LLM
from embexp.progress import track
from embexp.ranges import Count, Seed, Share, check_ranges
from embexp.retrieval.index import Index
from embexp.storage.files import sha256_of
from embexp.synthesis.query_text import acceptable, clean, key
from embexp.synthesis.salience import Sentence, Terms, cosine, cut, sentences
from embexp.synthesis.stated_queries import (
    Link,
    asks,
    captions,
    comments,
    definitions,
    links_to,
    questions,
    slug,
)
from embexp.synthesis.synthesis import Plan, Synthesis

log = logging.getLogger(__name__)


T = TypeVar("T")
_Written = Literal[
    "faq", "summary", "title", "heading", "definition", "caption", "sentence", "comment", "link"
]
QueryType = Literal[_Written, "keywords", "span", "words"]
_PATH = " > "
_LEAST_WORDS: Mapping[str, int] = {
    **{"faq": 3, "summary": 2, "title": 1, "heading": 2, "definition": 1, "sentence": 4},
    **{"caption": 3, "comment": 4, "link": 2, "keywords": 3},
}
_MOST_KEYWORDS = 6
_PSEUDO_WORDS = (4, 12)
"""The fewest and the most words of a span, and of words drawn from a chunk."""
_MOST_OF_A_SHORT_DOCUMENT = 10
_TURNS = 100
"""How often one chunk may be drawn from."""
_MOST_COMPARED = 500
"""Chunks of one document whose sentences are compared with its other chunks: a log file has thousands."""


class _Candidate(NamedTuple):
    """A query, its chunk, and the chunk's passage without the query."""

    query: str
    chunk: Chunk
    positive: str


@dataclass(frozen=True)
class _Source:
    """A document with its chunks, in reading order and in random order."""

    document: Document
    chunks: Sequence[Chunk]
    shuffled: Sequence[Chunk]
    terms: Terms
    shared_queries: frozenset[str]
    shared_terms: frozenset[str]
    links: Sequence[Link]
    most_words: int

    def fits(self, kind: QueryType, query: str) -> bool:
        """Return whether a cleaned text can be a query of this kind."""
        return acceptable(query, least=_LEAST_WORDS[kind], most=self.most_words)


def _questions(source: _Source) -> Iterator[_Candidate]:
    """Yield the questions that stand in the document, headings and titles among them, for what follows."""
    for chunk in source.shuffled:
        above, _, last = chunk.title.rpartition(_PATH)
        heading = clean(last)
        if asks(heading) and key(heading) not in source.shared_queries and source.fits("faq", heading):
            body = _without_heading(chunk.text, heading)
            yield _Candidate(heading, chunk, f"{above}\n{body}" if above else body)
        yield from _cut_out("faq", questions, chunk, source)


def _definitions(source: _Source) -> Iterator[_Candidate]:
    """Yield the terms that the document defines, for its passage without the term.

    A term that several documents seem to define ("Note: …") is a label and is left out.
    """
    for chunk in source.shuffled:
        for candidate in _cut_out("definition", definitions, chunk, source):
            if key(candidate.query) not in source.shared_terms:
                yield candidate


def _comments(source: _Source) -> Iterator[_Candidate]:
    """Yield the comments and docstrings in the document's code, for the passage without them."""
    for chunk in source.shuffled:
        yield from _cut_out("comment", comments, chunk, source)


def _captions(source: _Source) -> Iterator[_Candidate]:
    """Yield the captions of the document's tables, for the passage without them."""
    for chunk in source.shuffled:
        yield from _cut_out("caption", captions, chunk, source)


def _linked(source: _Source) -> Iterator[_Candidate]:
    """Yield the words of links to the document, for the chunk under the heading that they lead to."""
    for link in source.links:
        under = (chunk for chunk in source.chunks if link.fragment and link.fragment == slug(chunk.title))
        chunk = next(under, source.chunks[0])
        if source.fits("link", link.words):
            yield _Candidate(link.words, chunk, chunk.passage)


def _cut_out(
    kind: QueryType, find: Callable[[str], Iterator[Sentence]], chunk: Chunk, source: _Source
) -> Iterator[_Candidate]:
    """Yield what ``find`` finds in a chunk and the passage does not repeat, for the rest of the passage."""
    for found in find(chunk.text):
        rest = cut(chunk.text, found)
        if source.fits(kind, found.text) and (kind == "definition" or key(found.text) not in key(rest)):
            yield _Candidate(found.text, chunk, f"{chunk.title}\n{rest}" if chunk.title else rest)


def _summaries(source: _Source) -> Iterator[_Candidate]:
    """Yield the summary that the reader cut out of the document, for its first chunk.

    A summary that several documents share ("Emit a record.") leads to none of them and is left out.
    """
    query = clean(source.document.metadata.get("summary", ""))
    if key(query) not in source.shared_queries and source.fits("summary", query):
        yield _Candidate(query, source.chunks[0], source.chunks[0].passage)


def _titles(source: _Source) -> Iterator[_Candidate]:
    """Yield the document's title, for the body of its first chunk."""
    first = source.chunks[0]
    query = clean(source.document.title)
    if query and source.fits("title", query):
        yield _Candidate(query, first, _without_heading(first.text, query))


def _headings(source: _Source) -> Iterator[_Candidate]:
    """Yield the last heading above a chunk, for its body under the other headings.

    A heading that several documents share ("See also") leads to none of them and is left out.
    """
    for chunk in source.shuffled:
        above, _, last = chunk.title.rpartition(_PATH)
        query = clean(last)
        if above and key(query) not in source.shared_queries and source.fits("heading", query):
            yield _Candidate(query, chunk, f"{above}\n{_without_heading(chunk.text, query)}")


def _salient_sentences(source: _Source) -> Iterator[_Candidate]:
    """Yield the sentence most similar to the rest of its chunk, for that rest.

    Similarity is the TF-IDF cosine: centroid-based salience, Radev et al., Information Processing &
    Management 40 (2004). A sentence that also occurs in another chunk of the document (overlapping
    windows) is skipped, since the corpus would still contain it.
    """
    keys = {chunk.id: key(chunk.text) for chunk in source.chunks}
    for chunk in source.shuffled[:_MOST_COMPARED]:
        others = [text for chunk_id, text in keys.items() if chunk_id != chunk.id]
        best = _most_salient(chunk.text, source, others)
        if best is not None:
            rest = cut(chunk.text, best)
            yield _Candidate(best.text, chunk, f"{chunk.title}\n{rest}" if chunk.title else rest)


def _keyword_queries(source: _Source) -> Iterator[_Candidate]:
    """Yield three to six keywords of a chunk, for its passage."""
    for chunk in source.shuffled:
        # The chunk's own id draws the number, so that it depends on nothing else.
        count = 3 + int(sha256_of(chunk.id)[:8], 16) % (_MOST_KEYWORDS - 2)
        query = " ".join(source.terms.keywords(chunk.passage, count))
        if source.fits("keywords", query):
            yield _Candidate(query, chunk, chunk.passage)


def _spans(source: _Source) -> Iterator[_Candidate]:
    """Yield a few consecutive words of each chunk in turn, from a random place, for its passage."""
    for chunk, draw in _turns(source):
        tokens = words(chunk.text)
        count = _pseudo_length(tokens, draw)
        start = draw.randint(0, len(tokens) - count)
        yield _Candidate(_joined(tokens[start : start + count], chunk), chunk, chunk.passage)


def _drawn_words(source: _Source) -> Iterator[_Candidate]:
    """Yield a few words of each chunk in turn, from anywhere in it and in its order, for its passage."""
    for chunk, draw in _turns(source):
        tokens = words(chunk.text)
        count = _pseudo_length(tokens, draw)
        chosen = sorted(draw.sample(range(len(tokens)), count))
        yield _Candidate(_joined([tokens[at] for at in chosen], chunk), chunk, chunk.passage)


def _pseudo_length(tokens: Sequence[str], draw: random.Random) -> int:
    """Return how many of a chunk's words to ask for: of a short chunk, two thirds."""
    return min(draw.randint(*_PSEUDO_WORDS), max(1, 2 * len(tokens) // 3))


def _turns(source: _Source) -> Iterator[tuple[Chunk, random.Random]]:
    """Yield the chunks that have words, again and again, each time with random numbers of its own."""
    chunks = [chunk for chunk in source.shuffled if words(chunk.text)]
    for turn in range(_TURNS):
        for chunk in chunks:
            yield chunk, random.Random(f"{chunk.id}:{turn}")


def _joined(tokens: Sequence[str], chunk: Chunk) -> str:
    return ("" if unspaced(chunk.text) else " ").join(tokens)


_KINDS: Mapping[QueryType, Callable[[_Source], Iterator[_Candidate]]] = {
    "faq": _questions,
    "summary": _summaries,
    "title": _titles,
    "heading": _headings,
    "definition": _definitions,
    "caption": _captions,
    "sentence": _salient_sentences,
    "comment": _comments,
    "link": _linked,
    "keywords": _keyword_queries,
    "span": _spans,
    "words": _drawn_words,
}


def _shared_headings(chunks: Iterable[Chunk]) -> frozenset[str]:
    """Return the last headings, as ``key`` writes them, above chunks of more than one document."""
    owners: dict[str, set[str]] = defaultdict(set)
    for chunk in chunks:
        if _PATH in chunk.title:
            owners[key(clean(chunk.title.rpartition(_PATH)[2]))].add(chunk.document_id)
    return frozenset(heading for heading, documents in owners.items() if len(documents) > 1)


def _shared_terms(chunks: Iterable[Chunk]) -> frozenset[str]:
    """Return the terms, as ``key`` writes them, that more than one document seems to define."""
    owners: dict[str, set[str]] = defaultdict(set)
    for chunk in chunks:
        for term in definitions(chunk.text):
            owners[key(term.text)].add(chunk.document_id)
    return frozenset(term for term, documents in owners.items() if len(documents) > 1)


def _shared_summaries(documents: Iterable[Document], chunks: Iterable[Chunk]) -> frozenset[str]:
    """Return the summaries, as ``key`` writes them, that belong to or occur in more than one document."""
    owners: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        if summary := document.metadata.get("summary"):
            owners[key(clean(summary))].add(document.id)
    for chunk in chunks if owners else ():
        for sentence in sentences(chunk.text):
            if (text := key(sentence.text)) in owners:
                owners[text].add(chunk.document_id)
    return frozenset(summary for summary, owned_by in owners.items() if len(owned_by) > 1)


def _most_salient(text: str, source: _Source, others: Sequence[str]) -> Sentence | None:
    best, best_score = None, 0.0
    for sentence in sentences(text):
        if not source.fits("sentence", sentence.text):
            continue
        rest = cut(text, sentence)
        score = cosine(source.terms.weights(sentence.text), source.terms.weights(rest))
        if score > best_score and not any(key(sentence.text) in other for other in [key(rest), *others]):
            best, best_score = sentence, score
    return best


def _without_heading(text: str, heading: str) -> str:
    """Drop a first line that only repeats the heading."""
    first, _, rest = text.partition("\n")
    return rest.lstrip() if key(clean(first)) == key(heading) else text


def _all_types() -> list[QueryType]:
    written: list[QueryType] = ["faq", "summary", "title", "heading", "definition", "caption", "sentence"]
    return [*written, "comment", "link", "keywords"]


def _most_human_types() -> list[QueryType]:
    return ["faq", "summary", "sentence", "comment"]


def _fallback_types() -> list[QueryType]:
    return ["words", "span"]


@dataclass(frozen=True, kw_only=True)
class Extractive:
    """Writes ``target`` pairs: mostly queries like those of people, and some of other kinds.

    Every document in turn gives a query of its most human kind (the first of ``held_out_types`` that
    it has); from the end of the same order, every document in turn gives one of the other kinds. So a
    small target covers as many documents as possible, and the pairs are balanced from the beginning.

    Args:
        target: The pairs to write in all.
        per_document: The most pairs that one document may give.
        held_out_share: The share of pairs of a document's most human kind, while there are any.
        query_types: The kinds of query to write.
        held_out_types: The kinds that may be in dev and test, the most human first.
        fallback_types: The kinds that a document gives of which all passages are shorter than
            ``min_passage_words``, and have two words or more: commands, codes, names.
        max_query_words: Longer queries are skipped.
        min_passage_words: Shorter passages, without the query, are skipped where a document has longer ones.
        seed: Draws the order of documents and chunks.
        written: A synthesis by a language model whose pairs are added; None for none.
    """

    target: Count = 2000
    per_document: Count = 50
    held_out_share: Share = 0.7
    query_types: list[QueryType] = field(default_factory=_all_types)
    held_out_types: list[QueryType] = field(default_factory=_most_human_types)
    fallback_types: list[QueryType] = field(default_factory=_fallback_types)
    max_query_words: Annotated[int, Interval(ge=1, le=1_000_000)] = 40
    min_passage_words: Annotated[int, Interval(ge=1, le=1_000_000)] = 8
    seed: Seed = 0
    written: Synthesis | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "synthesis")
        if isinstance(self.written, str):
            raise ConfigError(
                f"synthesis.written is {self.written!r}, which is no synthesis: choose "
                "synthesis=extractive_and_rag, whose questions are set as in synthesis.written.target=500."
            )
        if not self.query_types:
            raise ConfigError(f"synthesis.query_types is empty: name at least one of {', '.join(_KINDS)}.")
        for kind in [*self.query_types, *self.held_out_types, *self.fallback_types]:
            if kind not in _KINDS:
                kinds = ", ".join(_KINDS)
                raise ConfigError(f"synthesis.query_types: no kind {kind!r}; choose from {kinds}.")

    @property
    def invents_corpus(self) -> bool:
        """False: the documents are the corpus."""
        return False

    def fingerprint(self) -> str:
        """Return the digest of ``written``; empty without it, as the settings alone shape the pairs."""
        return self.written.fingerprint() if self.written else ""

    def documents(self, pairs: Iterable[Pair]) -> Iterator[Document]:  # noqa: ARG002
        """Yield nothing: the documents are the corpus."""
        yield from ()

    def plan(self, chunks: Sequence[Chunk], *, chat: bool, index: Index | None = None) -> Plan | None:
        """Return the plan of ``written``; None without it, as no language model is used."""
        return self.written.plan(chunks, chat=chat, index=index) if self.written else None

    def report(self) -> Mapping[str, object]:
        """Return the report of ``written``; empty without it."""
        return self.written.report() if self.written else {}

    def pairs(
        self,
        chunks: Sequence[Chunk],
        documents: Mapping[str, Document],
        *,
        llm: LLM | None = None,
        index: Index | None = None,
    ) -> Iterator[Pair]:
        """Yield pairs in a fixed order: the same chunks, documents and seed give the same pairs.

        Args:
            chunks: The corpus.
            documents: The documents that the chunks were cut from, by id.
            llm: What ``written`` asks; not needed without it.
            index: What ``written`` searches.

        Yields:
            Pairs with distinct queries, whose ``positive`` is the passage without the query; then those of
            ``written``.
        """
        yield from self._extracted(chunks, documents)
        if self.written:
            yield from self.written.pairs(chunks, documents, llm=llm, index=index)

    def _extracted(self, chunks: Sequence[Chunk], documents: Mapping[str, Document]) -> Iterator[Pair]:
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

    def _sources(self, chunks: Sequence[Chunk], documents: Mapping[str, Document]) -> list[_Source]:
        by_document: dict[str, list[Chunk]] = defaultdict(list)
        for chunk in chunks:
            by_document[chunk.document_id].append(chunk)
        terms = Terms.read(track((chunk.passage for chunk in chunks), "Weighing words", total=len(chunks)))
        counted = partial(track, chunks, "Looking for what documents share", total=len(chunks))
        shared = _shared_headings(chunks) | _shared_summaries(documents.values(), counted())
        labels = _shared_terms(counted()) if "definition" in self.query_types else frozenset()
        linked = links_to(documents.values()) if "link" in self.query_types else {}
        return [
            _Source(
                document=documents.get(document_id, Document(id=document_id, text="")),
                chunks=sorted(by_document[document_id], key=lambda chunk: chunk.position),
                shuffled=sorted(by_document[document_id], key=lambda chunk: self._draw(chunk.id)),
                terms=terms,
                shared_queries=shared,
                shared_terms=labels,
                links=linked.get(document_id, ()),
                most_words=self.max_query_words,
            )
            for document_id in sorted(by_document, key=self._draw)
        ]

    def _draw(self, name: str) -> tuple[str, str]:
        return sha256_of(self.seed, name), name

    def _human(self, source: _Source) -> Iterator[Pair]:
        kind = self._most_human(source)
        return self._candidates(kind, source) if kind else iter(())

    def _others(self, source: _Source, turn: int) -> Iterator[Pair]:
        human = self._most_human(source)
        kinds = [kind for kind in self.query_types if kind != human]
        first = turn % len(kinds) if kinds else 0
        rotated = [*kinds[first:], *kinds[:first]]
        if self._is_short(source):
            drawn = [partial(self._candidates, kind, source, 2) for kind in self.fallback_types]
            return islice(_round_robin(drawn), _MOST_OF_A_SHORT_DOCUMENT)
        return _round_robin([partial(self._candidates, kind, source) for kind in rotated])

    def _is_short(self, source: _Source) -> bool:
        return all(len(words(chunk.passage)) < self.min_passage_words for chunk in source.chunks)

    def _most_human(self, source: _Source) -> QueryType | None:
        kinds = (kind for kind in self.held_out_types if kind in self.query_types)
        return next((kind for kind in kinds if any(True for _ in self._candidates(kind, source))), None)

    def _candidates(self, kind: QueryType, source: _Source, least_words: int | None = None) -> Iterator[Pair]:
        least = least_words or self.min_passage_words
        for candidate in _KINDS[kind](source):
            if len(words(candidate.positive)) >= least:
                yield _pair(kind, candidate)

    def _kept(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """Yield pairs with a new query, at most ``per_document`` of one document."""
        seen: set[str] = set()
        given: Counter[str] = Counter()
        for pair in pairs:
            query = key(pair.query)
            if query in seen or given[pair.document_id] >= self.per_document:
                continue
            seen.add(query)
            given[pair.document_id] += 1
            yield pair


def _pair(kind: QueryType, candidate: _Candidate) -> Pair:
    query, chunk, positive = candidate
    return Pair(
        id=sha256_of(kind, chunk.id, query)[:16],
        query=query,
        positive=positive,
        document_id=chunk.document_id,
        chunk_id=chunk.id,
        query_type=kind,
        generator=Generator(kind=EXTRACTIVE),
    )


def _round_robin(openers: Sequence[partial[Iterator[T]]]) -> Iterator[T]:
    """Yield one item from each iterator in turn until all are empty; each is opened at its first turn."""
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
    """Yield ``share`` of the items from one iterator, the others from the other, then all that is left."""
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


_ENOUGH = 1500
"""Held-out queries to write where there are fewer documents; dev and test use a part of them."""
_MOST_PER_DOCUMENT = 10


def held_out_pairs(
    chunks: Sequence[Chunk], documents: Mapping[str, Document], *, seed: int
) -> Iterator[Pair]:
    """Yield queries in the authors' own words: questions, summaries, salient sentences, comments in code.

    A model that is tuned and tested on questions by one language model may only learn that model's style.
    These queries come from people.

    Args:
        chunks: The corpus.
        documents: The documents' headers by id.
        seed: Draws the order of documents and chunks.
    """
    extractive = Extractive(
        target=max(len({chunk.document_id for chunk in chunks}), _ENOUGH),
        per_document=_MOST_PER_DOCUMENT,
        held_out_share=1.0,
        query_types=_most_human_types(),
        fallback_types=[],
        seed=seed,
    )
    for pair in extractive.pairs(chunks, documents):
        # Its own id: another synthesis may have written the same pair for training.
        yield replace(pair, id=sha256_of(HELD_OUT, pair.id)[:16], generator=Generator(kind=HELD_OUT))
