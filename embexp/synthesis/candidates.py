"""One function per kind of query: what a document offers as a query, and the passage that answers it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from embexp.data.records import Chunk, Document
from embexp.storage.files import sha256_of
from embexp.synthesis.query_text import acceptable, clean, key
from embexp.synthesis.salience import Sentence, Terms, cosine, cut, sentences

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
