"""Vectors of training texts, from the model as it is at the moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from embexp.progress import progress

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from embexp.protocols import Vectors

TEXTS_PER_BLOCK = 1024


def encode_queries(model: SentenceTransformer, texts: Sequence[str], *, batch_size: int) -> Vectors:
    """Return unit vectors of queries, shape (len(texts), dimension); each distinct text is encoded once."""
    return _encode(model.encode_query, texts, batch_size=batch_size, what="Encoding training queries")


def encode_passages(model: SentenceTransformer, texts: Sequence[str], *, batch_size: int) -> Vectors:
    """Return unit vectors of passages, shape (len(texts), dimension); each distinct text is encoded once."""
    return _encode(model.encode_document, texts, batch_size=batch_size, what="Encoding training passages")


def _encode(encode, texts: Sequence[str], *, batch_size: int, what: str) -> Vectors:  # type: ignore[no-untyped-def]
    import numpy as np

    positions: dict[str, int] = {}
    where = [positions.setdefault(text, len(positions)) for text in texts]
    distinct, blocks = list(positions), []
    with progress(what, total=len(distinct)) as bar:
        for start in range(0, len(distinct), TEXTS_PER_BLOCK):
            block = distinct[start : start + TEXTS_PER_BLOCK]
            blocks.append(
                encode(block, batch_size=batch_size, normalize_embeddings=True, show_progress_bar=False)
            )
            bar.advance(len(block))
    vectors: Vectors = np.concatenate(blocks)[where].astype(np.float32, copy=False)
    return vectors
