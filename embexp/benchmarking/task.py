"""Retrieval tasks: a corpus, its questions and their relevance judgments; a task knows no scores."""

from __future__ import annotations

import logging
import random
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from embexp.data.labels import LabelScale
from embexp.data.records import Chunk, Pair, Unit
from embexp.errors import DataError
from embexp.ranges import MAX_LABEL
from embexp.storage.files import sha256_of, sha256_of_rows

log = logging.getLogger(__name__)

_UNUSABLE = re.compile("[\0\ud800-\udfff]")

Qrels = Mapping[str, Mapping[str, int]]
"""Relevance judgments: query id -> unit id -> grade (1 or more is relevant)."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question of a benchmark; ``cluster`` is the source document that the bootstrap resamples by."""

    id: str
    text: str
    cluster: str
    query_type: str = "human"


def clusters_of(queries: Iterable[Query]) -> dict[str, str]:
    """Return query id -> source document, as the statistics need it."""
    return {query.id: query.cluster for query in queries}


@dataclass(frozen=True, slots=True)
class RepeatedTexts:
    """How many texts a task holds twice.

    Attributes:
        duplicates: Units with the same text as an earlier one, under another id.
        judged_duplicates: Those with the text of a unit that answers a question.
        merged: Whether they count as that unit.
        self_hits: Questions that are documents of the corpus, which are no hits of theirs.
    """

    duplicates: int = 0
    judged_duplicates: int = 0
    merged: bool = False
    self_hits: int = 0


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """A corpus, its questions and their judgments; a task knows no scores.

    Attributes:
        name: The task's name in messages and tables.
        corpus: The chunks to search.
        queries: The questions.
        qrels: Their judgments.
        unit: What the judgments are on: chunks, or the documents that the chunks belong to.
        own: Query id -> the units that are the question itself, and no hits of it.
        copies: Unit -> the unit with the same text that it counts as.
        repeated: How many there are of both.
        judge_depth: None where there are judgments. Else a language model grades each system's first
            ``judge_depth`` hits.
    """

    name: str
    corpus: Sequence[Chunk]
    queries: Sequence[Query]
    qrels: Qrels
    unit: Unit
    own: Mapping[str, frozenset[str]] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    repeated: RepeatedTexts = RepeatedTexts()
    judge_depth: int | None = None

    def __post_init__(self) -> None:
        """Refuse ids and grades that trec_eval would silently cut off or cannot hold.

        Raises:
            DataError: An id holds a NUL character or half of a surrogate pair, or a grade is too high.
        """
        units = [chunk.document_id if self.unit == "document" else chunk.id for chunk in self.corpus]
        for ids in (units, [query.id for query in self.queries], self.qrels, *self.qrels.values()):
            _check_ids(ids, self.name)
        for query, grades in self.qrels.items():
            for unit, grade in grades.items():
                if not -MAX_LABEL <= grade <= MAX_LABEL:
                    raise DataError(
                        f"{self.name}: the grade of {unit!r} for the question {query!r} is {grade}: give a "
                        f"whole number up to {MAX_LABEL:,}."
                    )

    @property
    def clusters(self) -> dict[str, str]:
        """Query id -> source document."""
        return clusters_of(self.queries)

    def unit_of(self, chunk: Chunk) -> str:
        """Return the id of what is judged relevant when this chunk is: its document's or its own.

        For a copy, that is the id of the unit that it counts as.
        """
        name = chunk.document_id if self.unit == "document" else chunk.id
        return self.copies.get(name, name)

    def fingerprint(self) -> str:
        """Return a digest of the corpus, the questions and the judgments."""
        corpus = sha256_of_rows((chunk.id, chunk.document_id, chunk.passage) for chunk in self.corpus)
        asked = (corpus, [(query.id, query.text) for query in self.queries], self.qrels, self.unit)
        own = {query: sorted(units) for query, units in self.own.items()}
        return sha256_of(*asked, *([own, self.copies] if own or self.copies else []))


def _check_ids(ids: Iterable[str], task: str) -> None:
    names = list(ids)
    joined = "\n".join(names)
    if "\0" in joined or not joined.isascii():
        for name in names:
            if _UNUSABLE.search(name):
                raise DataError(
                    f"{task}: the id {name!r} holds a NUL character or half of a surrogate pair, which "
                    "trec_eval cannot compare: give it another id."
                )


def smaller_corpus(
    chunks: Sequence[Chunk], keep: Collection[str], *, distractors: int, seed: int
) -> list[Chunk]:
    """Return the chunks to keep and a random sample of the others, for a corpus that is quick to embed.

    Args:
        chunks: The corpus.
        keep: Ids of the chunks or documents that stay.
        distractors: The most other chunks.
        seed: Seeds the sample.
    """
    kept: list[Chunk] = []
    others: list[Chunk] = []
    for chunk in chunks:
        (kept if chunk.document_id in keep or chunk.id in keep else others).append(chunk)
    return [*kept, *random.Random(seed).sample(others, min(distractors, len(others)))]


def judged(
    pairs: Sequence[Pair], *, unit: Unit, scale: LabelScale
) -> tuple[dict[str, dict[str, int]], dict[str, Pair]]:
    """Return the judgments of each question that has a relevant unit, and its first relevant pair.

    Where several chunks of a document are judged, the document gets the best grade.

    Args:
        pairs: The pairs of one task.
        unit: What is judged.
        scale: How labels become grades.

    Returns:
        Query id -> unit id -> grade, and query id -> pair, both in the order of the pairs.
    """
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    first: dict[str, Pair] = {}
    for pair in pairs:
        name = pair.query_key
        unit_id = pair.document_id if unit == "document" else pair.chunk_id
        grade = scale.grade(pair.label)
        grades[name][unit_id] = max(grade, grades[name].get(unit_id, 0))
        if grade > 0:
            first.setdefault(name, pair)
    if left := len(grades) - len(first):
        log.warning("%s questions have no relevant %s and are left out.", f"{left:,}", unit)
    return {name: grades[name] for name in first}, first
