"""The records that flow through embexp: documents, chunks, pairs, and their splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["document", "chunk"]
SplitName = Literal["train", "dev", "test"]
HELD_OUT = "held_out"
"""The kind of generator whose queries may be asked in dev and test, and never train."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a knowledge base, as its author wrote it.

    ``metadata["summary"]`` holds a sentence that a reader has cut out of ``text`` to serve as the
    document's natural query.
    """

    id: str
    text: str
    title: str = ""
    source: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document that is short enough to embed; ``position`` counts from 0 within it."""

    id: str
    document_id: str
    text: str
    title: str = ""
    position: int = 0

    @property
    def passage(self) -> str:
        """The text that is embedded and indexed: the title, if any, then the body."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Generator:
    """What wrote a query: a person's data set, a rule, or a language model with its prompt and usage.

    ``persona`` and ``difficulty`` say what a language model was asked for.
    """

    kind: str
    model: str | None = None
    prompt_sha256: str | None = None
    usage: Mapping[str, float] | None = None
    persona: str | None = None
    difficulty: str | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A query with a passage that answers it.

    ``label`` is a similarity or relevance grade, or None for a plain positive. Pairs that share a
    ``query_id`` are the judgments of one query. ``split`` is set where a data set brings its own.
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


@dataclass(frozen=True, slots=True)
class Splits:
    """Training, development and test pairs; no document stands in two of them, unless the set says so."""

    train: Sequence[Pair]
    dev: Sequence[Pair]
    test: Sequence[Pair]


@dataclass(frozen=True, slots=True)
class Leak:
    """A text of ``split`` that equals or nearly equals a held-out one; ``similarity`` is Jaccard's."""

    kind: Literal["question", "passage"]
    split: SplitName
    text: str
    held_out: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Leaks:
    """What the audit found between splits, and how many pairs it took out of train and dev.

    ``documents`` counts those that stand in train and in test because the set's own split puts them
    there; of sets that we split ourselves no document ever does. ``examples`` holds the most alike.
    """

    documents: int = 0
    near_duplicate_chunks: int = 0
    near_duplicate_queries: int = 0
    removed_from_train: int = 0
    removed_from_dev: int = 0
    examples: Sequence[Leak] = ()
