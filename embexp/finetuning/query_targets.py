"""Where a query's vector should be, by the fusion of the untuned model with BM25: no label is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embexp.data.records import Chunk
from embexp.models.encoder import Embedder
from embexp.progress import progress
from embexp.retrieval.bm25 import Bm25Retriever

if TYPE_CHECKING:
    from embexp.models.vector_files import Vectors

_QUERIES_PER_BLOCK = 256
_STEPS = 40
_RATE = 0.01


def fused_targets(
    queries: Sequence[str],
    passages: Sequence[str],
    embedder: Embedder,
    *,
    weight: float,
    temperature: float,
    pull: float,
) -> Vectors:
    """Return the vectors at which the queries would rank the passages as the fusion does.

    The teacher of a query is ``softmax((cosine + weight / (1 - weight) * share) / temperature)`` over all
    passages, with the share of the query's words that ``Bm25Index.normalised`` gives. Its target is the unit
    vector ``v`` that minimises the cross-entropy of ``softmax(cosine(v, passages) / temperature)`` with the
    teacher, plus ``pull * (1 - cosine(v, query))``, found by 40 steps of Adam from the query's own vector.

    Args:
        queries: The training queries.
        passages: The corpus to rank.
        embedder: The untuned model.
        weight: The share of BM25 in the fusion, in [0, 1).
        temperature: Divides the scores of teacher and student; the smaller, the fewer passages count.
        pull: How strongly the targets are held near the queries' own vectors.

    Returns:
        Unit vectors, float32, shape (queries, dimension).
    """
    import numpy as np
    import torch
    from torch.nn.functional import normalize

    corpus = torch.from_numpy(embedder.encode_passages(passages))
    vectors = embedder.encode_queries(queries)
    chunks = [
        Chunk(id=f"{number:09}", document_id="", text=passage) for number, passage in enumerate(passages)
    ]
    shares = Bm25Retriever().index(chunks, path=Path()).normalised(queries)
    parts: list[Vectors] = []
    with progress("Computing targets", total=len(queries)) as bar:
        for start in range(0, len(queries), _QUERIES_PER_BLOCK):
            own = torch.from_numpy(vectors[start : start + _QUERIES_PER_BLOCK])
            share = torch.from_numpy(np.stack([next(shares) for _ in range(len(own))]))
            scores = own @ corpus.T + weight / (1 - weight) * share
            teacher = torch.softmax(scores / temperature, dim=1)
            target = own.clone().requires_grad_(True)
            optimizer = torch.optim.Adam([target], lr=_RATE)
            for _ in range(_STEPS):
                unit = normalize(target, dim=1)
                student = torch.log_softmax(unit @ corpus.T / temperature, dim=1)
                loss = -(teacher * student).sum() + pull * (1 - (unit * own).sum(1)).sum()
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            parts.append(normalize(target.detach(), dim=1).numpy())
            bar.advance(len(own))
    return np.concatenate(parts)
