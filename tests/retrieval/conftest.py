from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from embexp.data.records import Chunk
from tests.retrieval.letter_embedder import LetterEmbedder


@pytest.fixture
def letters() -> LetterEmbedder:
    return LetterEmbedder()


@pytest.fixture
def chunks() -> Callable[..., list[Chunk]]:
    """Make chunks of texts, with the ids 0, 1, … or those given."""

    def make(*texts: str, ids: Sequence[str] | None = None) -> list[Chunk]:
        names = ids or [str(number) for number in range(len(texts))]
        return [
            Chunk(id=name, document_id=f"of {name}", text=text)
            for name, text in zip(names, texts, strict=True)
        ]

    return make
