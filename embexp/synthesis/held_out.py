"""Queries in the authors' own words, for dev and test where a language model writes for training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from embexp.storage.files import sha256_of
from embexp.synthesis.extractive import Extractive
from embexp.types import HELD_OUT, Chunk, Document, Generator, Pair

GENERATOR = Generator(kind=HELD_OUT)
ENOUGH = 1500
"""Queries to write where the documents are fewer; a tenth and a fifth of them are asked."""
MOST = 10
"""The most that one document gives, in turn with the others."""


def held_out_pairs(
    chunks: Sequence[Chunk], documents: Mapping[str, Document], *, seed: int
) -> Iterator[Pair]:
    """Yield queries by turns over the documents: summaries, and the most telling sentences of chunks.

    A model that is tuned on a language model's questions and tested on more of them may have learnt no
    more than how that model asks. These queries come from another hand.

    Args:
        chunks: The corpus.
        documents: The documents' headers by id.
        seed: Draws the order of documents and chunks.
    """
    extractive = Extractive(
        target=max(len({chunk.document_id for chunk in chunks}), ENOUGH),
        per_document=MOST,
        held_out_share=1.0,
        query_types=["summary", "sentence"],
        seed=seed,
    )
    for pair in extractive.pairs(chunks, documents):
        # An id of its own: another synthesis may have written the same pair for training.
        yield replace(pair, id=sha256_of(HELD_OUT, pair.id)[:16], generator=GENERATOR)
