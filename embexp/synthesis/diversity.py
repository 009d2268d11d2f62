"""The diversity of a set of pairs: coverage, the mix of kinds, and how much the queries differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from embexp.data.records import Pair
from embexp.data.words import words
from embexp.storage.files import sha256_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float64]

_SAMPLE = 1000


def _evenness(counts: Iterable[int]) -> float:
    """Return Pielou's evenness, the entropy of the shares over the most it could be: H / ln(kinds).

    Source: Pielou, J. Theoretical Biology 13 (1966). 1 for equal shares, 0 for a single kind.
    """
    known = [count for count in counts if count > 0]
    total = sum(known)
    if len(known) < 2:
        return 0.0
    return -sum(n / total * math.log(n / total) for n in known) / math.log(len(known))


def _distinct(texts: Iterable[str], n: int) -> float:
    """Return distinct-n: the share of distinct runs of n words among all runs of n words.

    Source: Li et al., A diversity-promoting objective function, NAACL 2016. It falls as a set grows, so
    compare sets, or samples, of one size.
    """
    runs: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        own = words(text.casefold())
        runs.update(tuple(own[at : at + n]) for at in range(len(own) - n + 1))
    return len(runs) / runs.total() if runs else 0.0


def _self_similarity(cosines: Matrix) -> float:
    """Return the mean cosine over all pairs of different texts: (Σ K − trace K) / (n (n − 1)).

    Args:
        cosines: The matrix K, shape (n, n), with ones on its diagonal.
    """
    import numpy as np

    n = len(cosines)
    return float((cosines.sum() - np.trace(cosines)) / (n * (n - 1))) if n > 1 else 0.0


def _vendi_score(cosines: Matrix) -> float:
    """Return the Vendi score: exp of the entropy of the eigenvalues of K / n.

    The effective number of different texts: 1 for n equal texts, n for n orthogonal ones.
    Source: Friedman & Dieng, The Vendi Score, TMLR 2023. Cost: O(n³).

    Args:
        cosines: The matrix K, shape (n, n), with ones on its diagonal.
    """
    import numpy as np

    if not len(cosines):
        return 0.0
    values = np.linalg.eigvalsh(cosines / len(cosines))
    values = values[values > 1e-12]
    return float(np.exp(-np.sum(values * np.log(values))))


def _cosines_of(texts: Sequence[str]) -> Matrix:
    """Return the cosines between TF-IDF vectors over words and pairs of words, shape (n, n).

    Args:
        texts: Queries; the matrix grows with their square.
    """
    import numpy as np

    if not texts:
        return np.zeros((0, 0))
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

    sparse = TfidfVectorizer(analyzer=_word_runs, sublinear_tf=True).fit_transform(texts)
    return np.asarray((sparse @ sparse.T).toarray(), dtype=np.float64)


def _word_runs(text: str) -> list[str]:
    own = words(text.casefold()) or [text]
    return [*own, *(" ".join(own[at : at + 2]) for at in range(len(own) - 1))]


@dataclass
class Diversity:
    """Counts pairs one by one, and keeps a bounded sample of queries to measure at the end.

    The sample has the queries with the smallest digests, so that it depends on the set alone.

    Args:
        chunks: The number of chunks to cover; 0 where there are none.
        documents: The number of documents to cover; 0 where there are none.
        topics: The number of topics to cover; 0 where there are none.
        sample: The most queries to measure.
    """

    chunks: int = 0
    documents: int = 0
    topics: int = 0
    sample: int = _SAMPLE
    kinds: Counter[str] = field(default_factory=Counter)
    personas: Counter[str] = field(default_factory=Counter)
    difficulties: Counter[str] = field(default_factory=Counter)
    _chunks: set[str] = field(default_factory=set)
    _documents: set[str] = field(default_factory=set)
    _topics: set[str] = field(default_factory=set)
    _queries: list[tuple[str, str]] = field(default_factory=list)

    def add(self, pair: Pair) -> None:
        """Count a pair."""
        self.kinds[pair.query_type] += 1
        if pair.generator.persona:
            self.personas[pair.generator.persona] += 1
        if pair.generator.difficulty:
            self.difficulties[pair.generator.difficulty] += 1
        if self.chunks:
            self._chunks.add(pair.chunk_id)
        if self.documents:
            self._documents.add(pair.document_id)
        if self.topics:
            self._topics.update(pair.context_ids[:1])
        self._queries.append((sha256_of(pair.query), pair.query))
        if len(self._queries) > 2 * self.sample:
            self._queries = sorted(self._queries)[: self.sample]

    def queries(self) -> list[str]:
        """Return the sample."""
        return [query for _, query in sorted(self._queries)[: self.sample]]

    def report(self) -> dict[str, Any]:
        """Return all measures as JSON-able values."""
        queries = self.queries()
        cosines = _cosines_of(queries)
        vendi = _vendi_score(cosines)
        measures: dict[str, Any] = {
            "query_types": dict(sorted(self.kinds.items())),
            "type_evenness": round(_evenness(self.kinds.values()), 4),
            "personas": dict(sorted(self.personas.items())),
            "difficulties": dict(sorted(self.difficulties.items())),
            "distinct_1": round(_distinct(queries, 1), 4),
            "distinct_2": round(_distinct(queries, 2), 4),
            "self_similarity": round(_self_similarity(cosines), 4),
            "vendi_score": round(vendi, 2),
            "vendi_share": round(vendi / len(queries), 4) if queries else 0.0,
            "sample": len(queries),
            "vectors": "tf-idf",
        }
        covered = (
            ("chunk_coverage", self._chunks, self.chunks),
            ("document_coverage", self._documents, self.documents),
            ("topic_coverage", self._topics, self.topics),
        )
        return {**{name: round(len(own) / all_, 4) for name, own, all_ in covered if all_}, **measures}
