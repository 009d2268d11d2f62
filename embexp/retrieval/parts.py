"""Passages and their parts: a passage scores by its own vector, and by the vector of its best part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Interval

from embexp.data.chunking import cut_at_sentences
from embexp.data.records import Chunk
from embexp.data.words import words
from embexp.models.encoder import Embedder
from embexp.ranges import Share, check_ranges
from embexp.retrieval.exact import DECIMALS
from embexp.retrieval.index import (
    DenseIndex,
    DenseRetriever,
    Hit,
    check_dense,
    check_k,
    complete_cosines,
    empty_corpus,
    query_vectors,
)

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors

DEFAULT_WORDS, DEFAULT_SHARE = 50, 0.5
FOLDER = "parts"
"""The folder of the parts' index, within that of the passages."""


@dataclass(frozen=True, kw_only=True)
class PartsRetriever:
    """Searches the vectors of passages and of their parts, which are a few sentences each.

    One vector of a long passage is a mean of all that it says, and a question asks for one thing of it; what
    is behind the model's limit is in no vector at all. So a passage scores ``(1 - share) * cosine + share *
    the highest cosine of its parts``. Each part has the passage's title before it. A passage that is no
    longer than a part has none, and scores its cosine.

    Args:
        dense: The retriever that indexes passages, and parts in a folder of their own.
        words: The longest part, in words; letters in scripts without spaces.
        share: The share of the best part in a passage's score, from 0 (the passage) to 1 (the part).
    """

    approximate: ClassVar[bool] = False
    dense: DenseRetriever
    words: Annotated[int, Interval(ge=4, le=1_000_000)] = DEFAULT_WORDS
    share: Share = DEFAULT_SHARE

    def __post_init__(self) -> None:
        check_ranges(self, "retriever")
        check_dense(self.dense)

    def index(self, chunks: Iterable[Chunk], embedder: Embedder, *, path: Path) -> PartsIndex:
        """Index the chunks under ``path``, and their parts under ``path/parts``.

        Raises:
            RetrievalError: There are no chunks, or ``dense`` cannot index them.
        """
        corpus = list(chunks)
        if not corpus:
            raise empty_corpus(path)
        passages = self.dense.index(corpus, embedder, path=path)
        names: dict[str, list[str]] = {}
        parts: list[Chunk] = []
        for chunk in corpus:
            found = list(parts_of(chunk, self.words))
            if found and chunk.id not in names:
                names[chunk.id] = [part.id for part in found]
                parts += found
        indexed = self.dense.index(parts, embedder, path=path / FOLDER) if parts else None
        return PartsIndex(passages, indexed, names, embedder, self.share)


def parts_of(chunk: Chunk, most: int) -> Iterator[Chunk]:
    """Yield the parts of a chunk, each with its title; none for a chunk that is no longer than one part.

    Args:
        chunk: The chunk.
        most: The longest part, in words.
    """
    if len(words(chunk.text)) <= most:
        return
    texts = (text for part in cut_at_sentences(chunk.text, most) if (text := part.strip()))
    for number, text in enumerate(texts, start=1):
        yield replace(chunk, id=f"{chunk.id}#{number}", text=text)


class PartsIndex:
    """An index of passages and one of their parts, searched as one; see ``PartsRetriever``.

    Args:
        passages: The index of the passages.
        parts: The index of their parts; None where no passage has any.
        names: The id of a passage -> the ids of its parts.
        embedder: Encodes the queries.
        share: The share of the best part in a passage's score.
    """

    def __init__(
        self,
        passages: DenseIndex,
        parts: DenseIndex | None,
        names: Mapping[str, Sequence[str]],
        embedder: Embedder,
        share: float,
    ) -> None:
        self._passages = passages
        self._parts = parts
        self._names = names
        self._embedder = embedder
        self._share = share
        self._passage_of = {part: passage for passage, parts in names.items() for part in parts}

    @property
    def parts(self) -> int:
        """The number of parts."""
        return len(self._passage_of)

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Return each query's ``k`` best passages, the best first; equal scores are ordered by chunk id.

        Raises:
            RetrievalError: ``k`` is less than 1, or one of the indexes cannot be searched.
        """
        check_k(k)
        return self.nearest(query_vectors(list(queries), self._embedder), k=k) if queries else []

    def nearest(self, vectors: Vectors, *, k: int) -> list[list[Hit]]:
        """Return the best passages for query vectors of unit length, shape (queries, dimension).

        Scored are the ``k`` nearest passages, and those of the nearest parts.

        Raises:
            RetrievalError: One of the indexes cannot be searched.
        """
        nearest = self._passages.nearest(vectors, k=k)
        if self._parts is None:
            return nearest
        per_passage = ceil(len(self._passage_of) / len(self._names))
        own = [{hit.id: hit.score for hit in hits} for hits in nearest]
        best: list[dict[str, float]] = [{} for _ in nearest]
        for known, hits in zip(best, self._parts.nearest(vectors, k=k * per_passage), strict=True):
            for hit in hits:  # a passage's best part comes first
                known.setdefault(self._passage_of[hit.id], hit.score)
        candidates = [sorted({**passages, **parts}) for passages, parts in zip(own, best, strict=True)]
        scored = self._scores(vectors, candidates, own, best)
        return [_best(ids, scores, k) for ids, scores in zip(candidates, scored, strict=True)]

    def cosines(self, vectors: Vectors, ids: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the scores of the passages with these ids for each query vector, one list per query.

        Raises:
            RetrievalError: One of the indexes cannot be searched.
        """
        return self._scores(vectors, ids, [{} for _ in ids], [{} for _ in ids])

    def _scores(
        self,
        vectors: Vectors,
        ids: Sequence[Sequence[str]],
        own: Sequence[dict[str, float]],
        best: Sequence[dict[str, float]],
    ) -> list[list[float]]:
        """Return the scores of passages for each query, and look up only the cosines that are not known.

        Args:
            vectors: The query vectors.
            ids: The passages to score for each.
            own: Passage -> its cosine, for each query, as far as known; is completed.
            best: Passage -> the highest cosine of its parts, likewise.
        """
        complete_cosines(self._passages, vectors, ids, own)
        if self._parts is not None:
            names = [
                [part for id in each if id not in known for part in self._names.get(id, ())]
                for each, known in zip(ids, best, strict=True)
            ]
            for known, parts, found in zip(best, names, self._parts.cosines(vectors, names), strict=True):
                for part, cosine in zip(parts, found, strict=True):
                    passage = self._passage_of[part]
                    known[passage] = max(cosine, known.get(passage, cosine))
        return [
            [(1 - self._share) * passages[id] + self._share * parts.get(id, passages[id]) for id in each]
            for each, passages, parts in zip(ids, own, best, strict=True)
        ]


def _best(ids: Sequence[str], scores: Sequence[float], k: int) -> list[Hit]:
    """Return the ``k`` best hits of ids in ascending order."""
    hits = [Hit(id, round(score, DECIMALS)) for id, score in zip(ids, scores, strict=True)]
    return sorted(hits, key=lambda hit: -hit.score)[:k]
