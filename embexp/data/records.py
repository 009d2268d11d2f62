"""The records that flow through embexp: documents, chunks, and pairs of a query and a passage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["document", "chunk"]
SplitName = Literal["train", "dev", "test"]
HELD_OUT = "held_out"
"""The generator kind of queries that may be asked in dev and test, and are never trained on."""
TEST_ONLY = "test_only"
"""The generator kind of questions that people asked and that are kept for the test."""
NEVER_TRAINED = frozenset({HELD_OUT, TEST_ONLY})
EXTRACTIVE = "extractive"
"""The kind of generator that cuts queries out of documents."""
CUT_OUT = frozenset({"faq", "summary", "title", "heading", "definition", "caption", "sentence", "comment"})
"""Query types whose text was cut out of its chunk; ``Pair.positive`` is the chunk without it."""
EXTRACTED = CUT_OUT | {"link", "keywords", "span", "words"}
"""All query types that a rule takes from the documents."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text as its author wrote it.

    ``metadata["summary"]`` holds a sentence that a reader cut out of ``text`` to serve as the document's
    natural query.
    """

    id: str
    text: str
    title: str = ""
    source: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document, short enough to embed; ``position`` counts from 0 within the document.

    ``source`` is the document's; a chunker may leave it out.
    """

    id: str
    document_id: str
    text: str
    title: str = ""
    position: int = 0
    source: str = ""

    @property
    def passage(self) -> str:
        """The text that is embedded and indexed: the title, if any, then the body."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Generator:
    """What wrote a query: people ("human"), a rule, or a language model with its prompt and token usage.

    ``persona`` and ``difficulty`` say what the language model was asked for.
    """

    kind: str
    model: str | None = None
    prompt_sha256: str | None = None
    usage: Mapping[str, float] | None = None
    persona: str | None = None
    difficulty: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A query with a passage that answers it, or that was judged for it.

    ``label`` is a similarity, a relevance grade or a class, or None for a plain positive
    (``embexp.data.labels`` says how it is read). Pairs that share a ``query_id`` are the judgments of one
    query. ``split`` is set where a data set has a split of its own. ``weight`` is how often training reads
    the pair in an epoch.
    """

    id: str
    query: str
    positive: str
    document_id: str
    query_id: str = ""
    chunk_id: str = ""
    negatives: tuple[str, ...] = ()
    label: float | None = None
    query_type: str = "human"
    split: SplitName | None = None
    context_ids: tuple[str, ...] = ()
    generator: Generator = Generator(kind="human")
    weight: int = 1

    @property
    def query_key(self) -> str:
        """The id that all judgments of this pair's query share."""
        return self.query_id or self.id
