"""The fusion of the untuned model with BM25 as a teacher: free, offline, and often better than either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.data.records import Chunk
from embexp.errors import ConfigError
from embexp.finetuning.teachers.teacher import Teacher
from embexp.models.encoder import Embedder
from embexp.ranges import Share, check_ranges
from embexp.retrieval.bm25 import Bm25Index, Bm25Retriever
from embexp.retrieval.hybrid import DEFAULT_WEIGHT
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors


@dataclass(frozen=True, kw_only=True)
class HybridTeacher(Teacher):
    """The untuned model and BM25, fused by a sum of scores with one weight for all queries.

    Args:
        weight: The share of BM25, from 0 (the model alone) to 1 (words alone).
    """

    weight: Share = DEFAULT_WEIGHT

    def __post_init__(self) -> None:
        check_ranges(self, "teacher")

    def fingerprint(self) -> str:
        """Return a digest of the settings; the model and the passages are inputs of the training."""
        return sha256_of("hybrid", self.weight)

    def prepared(self, passages: Sequence[str], embedder: Embedder) -> Teacher:
        """Return the teacher over these passages, whose words it counts."""
        return _Prepared(weight=self.weight, passages=tuple(passages), embedder=embedder)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Raise ConfigError: without a corpus it cannot say how rare a word is."""
        raise ConfigError(
            f"The hybrid teacher needs the corpus and the untuned model to score {len(pairs)} pairs: call "
            "prepared(passages, embedder) first."
        )


@dataclass(frozen=True, kw_only=True)
class _Prepared(HybridTeacher):
    """A hybrid teacher that knows its corpus and the untuned model."""

    passages: tuple[str, ...] = field(repr=False)
    embedder: Embedder = field(repr=False)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> Vectors:
        """Return ``(1 - weight) * cosine + weight * BM25 / upper bound``, shape (len(pairs),)."""
        import numpy as np

        passages = list(dict.fromkeys([*self.passages, *(passage for _, passage in pairs)]))
        queries = list(dict.fromkeys(query for query, _ in pairs))
        rows = {query: row for row, query in enumerate(queries)}
        columns = {passage: column for column, passage in enumerate(passages)}
        own = np.array([rows[query] for query, _ in pairs])
        other = np.array([columns[passage] for _, passage in pairs])
        vectors = self.embedder.encode_passages(passages)
        cosines = np.einsum("ij,ij->i", self.embedder.encode_queries(queries)[own], vectors[other])
        shares = np.empty(len(pairs), dtype=np.float32)
        for row, share in enumerate(words_of(passages).normalised(queries)):
            mine = np.flatnonzero(own == row)
            shares[mine] = share[other[mine]]
        scores: Vectors = (1 - self.weight) * cosines + self.weight * shares
        return scores


def words_of(passages: Sequence[str]) -> Bm25Index:
    """Return a BM25 index whose rows are the passages, in their order."""
    chunks = [
        Chunk(id=f"{number:09}", document_id="", text=passage) for number, passage in enumerate(passages)
    ]
    return Bm25Retriever().index(chunks, path=Path())
