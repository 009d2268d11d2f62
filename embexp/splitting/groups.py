"""What must stay together: documents that share a question, and all judgments of one question."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from embexp.types import Pair


@dataclass(frozen=True)
class Group:
    """Pairs that go into one split together; ``size`` counts towards a split's share."""

    id: str
    pairs: Sequence[Pair]
    documents: frozenset[str]
    size: int

    def asks(self, kind: str | None) -> bool:
        """Say whether a pair here is of this kind; None stands for any."""
        return kind is None or any(pair.query_type == kind for pair in self.pairs)


def draw(seed: int, name: str) -> tuple[bytes, str]:
    """Return a sort key that puts names in an order that depends on the seed and on nothing else."""
    return hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest(), name


def query_of(pair: Pair) -> str:
    """Return the id that all judgments of the pair's question share."""
    return pair.query_id or pair.id


def by_query(pairs: Iterable[Pair]) -> list[Group]:
    """Return a group of size 1 for each question."""
    grouped: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        grouped[query_of(pair)].append(pair)
    return [Group(name, members, _documents(members), 1) for name, members in grouped.items()]


def by_document(pairs: Iterable[Pair]) -> list[Group]:
    """Return the connected components of documents that are positives of the same question.

    A group's size is its number of documents.
    A document that is only judged irrelevant (label 0 or less) to a question is not tied to it.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    questions = by_query(pairs)
    documents = {name: at for at, name in enumerate(sorted({d for q in questions for d in _ties(q)}))}
    edges = [(at, len(questions) + documents[name]) for at, q in enumerate(questions) for name in _ties(q)]
    size = len(questions) + len(documents)
    rows, columns = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges), dtype=np.int8), (rows, columns)), shape=(size, size))
    _, labels = connected_components(graph, directed=False)
    members: dict[int, list[Pair]] = defaultdict(list)
    for at, question in enumerate(questions):
        members[int(labels[at])].extend(question.pairs)
    tied = ((pairs, _documents(pairs)) for pairs in members.values())
    return [Group(min(names), pairs, names, len(names)) for pairs, names in tied]


def _ties(question: Group) -> set[str]:
    relevant = {pair.document_id for pair in question.pairs if pair.label is None or pair.label > 0}
    return relevant or {min(question.documents)}


def _documents(pairs: Iterable[Pair]) -> frozenset[str]:
    return frozenset(pair.document_id for pair in pairs)
