"""How varied a set of pairs is: coverage, the mix of kinds, and how far the queries differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from embexp.data.records import Pair
from embexp.storage.files import sha256_of
from embexp.synthesis.query_text import words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from embexp.models.encoder import Embedder

    Matrix = npt.NDArray[np.float64]

SAMPLE = 1000


def evenness(counts: Iterable[int]) -> float:
    """Return Pielou's evenness, the entropy of the shares over the most it could be: H / ln(kinds).

    Source: Pielou, J. Theoretical Biology 13 (1966). 1 for equal shares, 0 for a single kind.
    """
    known = [count for count in counts if count > 0]
    total = sum(known)
    if len(known) < 2:
        return 0.0
    return -sum(n / total * math.log(n / total) for n in known) / math.log(len(known))


def distinct(texts: Iterable[str], n: int) -> float:
    """Return distinct-n: different runs of n words over all runs of n words.

    Source: Li et al., A diversity-promoting objective function, NAACL 2016. It falls as a set grows, so
    compare sets, or samples, of one size.
    """
    runs: Counter[tuple[str, ...]] = Counter()
    for text in texts:
        own = words(text.casefold())
        runs.update(tuple(own[at : at + n]) for at in range(len(own) - n + 1))
    return len(runs) / runs.total() if runs else 0.0


def self_similarity(cosines: Matrix) -> float:
    """Return the mean cosine over all pairs of different texts: (Σ K − trace K) / (n (n − 1)).

    Args:
        cosines: The matrix K, shape (n, n), with ones on its diagonal.
    """
    import numpy as np

    n = len(cosines)
    return float((cosines.sum() - np.trace(cosines)) / (n * (n - 1))) if n > 1 else 0.0


def vendi_score(cosines: Matrix) -> float:
    """Return the Vendi score: exp of the entropy of the eigenvalues of K / n.

    It is the number of texts that would be as varied if they had nothing in common: 1 for n equal texts,
    n for n orthogonal ones. Source: Friedman & Dieng, The Vendi Score, TMLR 2023. Cost: O(n³).

    Args:
        cosines: The matrix K, shape (n, n), with ones on its diagonal.
    """
    import numpy as np

    if not len(cosines):
        return 0.0
    values = np.linalg.eigvalsh(cosines / len(cosines))
    values = values[values > 1e-12]
    return float(np.exp(-np.sum(values * np.log(values))))


def cosines_of(texts: Sequence[str], embedder: Embedder | None = None) -> Matrix:
    """Return the cosines between texts, shape (n, n).

    Args:
        texts: Queries; the matrix grows with their square.
        embedder: Gives the vectors; None takes TF-IDF over words and pairs of words.
    """
    import numpy as np

    if not texts:
        return np.zeros((0, 0))
    if embedder is not None:
        vectors = np.asarray(embedder.encode_queries(texts), dtype=np.float64)
        return vectors @ vectors.T
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

    sparse = TfidfVectorizer(analyzer=_word_runs, sublinear_tf=True).fit_transform(texts)
    return np.asarray((sparse @ sparse.T).toarray(), dtype=np.float64)


def _word_runs(text: str) -> list[str]:
    own = words(text.casefold()) or [text]
    return [*own, *(" ".join(own[at : at + 2]) for at in range(len(own) - 1))]


@dataclass
class Diversity:
    """Counts pairs as they come, and keeps a bounded sample of queries to measure at the end.

    The sample holds the queries with the smallest digests, so that it depends on the set alone.

    Args:
        chunks: How many chunks there are to cover; 0 where there are none.
        documents: How many documents there are to cover; 0 where there are none.
        topics: How many topics there are to cover; 0 where there are none.
        sample: The most queries to measure.
    """

    chunks: int = 0
    documents: int = 0
    topics: int = 0
    sample: int = SAMPLE
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

    def report(self, embedder: Embedder | None = None) -> dict[str, Any]:
        """Return all measures as JSON-able values; without an embedder, cosines are of TF-IDF vectors."""
        queries = self.queries()
        cosines = cosines_of(queries, embedder)
        vendi = vendi_score(cosines)
        found: dict[str, Any] = {
            "query_types": dict(sorted(self.kinds.items())),
            "type_evenness": round(evenness(self.kinds.values()), 4),
            "personas": dict(sorted(self.personas.items())),
            "difficulties": dict(sorted(self.difficulties.items())),
            "distinct_1": round(distinct(queries, 1), 4),
            "distinct_2": round(distinct(queries, 2), 4),
            "self_similarity": round(self_similarity(cosines), 4),
            "vendi_score": round(vendi, 2),
            "vendi_share": round(vendi / len(queries), 4) if queries else 0.0,
            "sample": len(queries),
            "vectors": "embedder" if embedder else "tf-idf",
        }
        covered = (
            ("chunk_coverage", self._chunks, self.chunks),
            ("document_coverage", self._documents, self.documents),
            ("topic_coverage", self._topics, self.topics),
        )
        return {**{name: round(len(own) / all_, 4) for name, own, all_ in covered if all_}, **found}


def diversity_of(pairs: Iterable[Pair], embedder: Embedder | None = None) -> dict[str, Any]:
    """Return the measures of a finished set; how much of the corpus it covers is not known here."""
    measured = Diversity()
    for pair in pairs:
        measured.add(pair)
    return measured.report(embedder)
