"""A loopback service with OpenAI's embeddings API that serves the vectors of a tiny model, and can fail."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.llm.chat_server import ChatServer, Response, Sent, refusal, serving

KEY = "key-of-the-embeddings-41c7"
Vectors = Callable[[Sequence[str]], list[list[float]]]


def tiny_vectors(**options: Any) -> Vectors:
    """Return a function that embeds texts as ``model=tiny`` does."""
    from embexp.models.tiny import TinyModel

    model = TinyModel(**options).load()
    lock = threading.Lock()

    def vectors(texts: Sequence[str]) -> list[list[float]]:
        with lock:
            return [row.tolist() for row in model.encode(list(texts), show_progress_bar=False)]

    return vectors


def hashed(texts: Sequence[str], *, width: int = 4) -> list[list[float]]:
    """Return a vector for each text that depends on the text alone, and is not of unit length."""
    rows = []
    for text in texts:
        drawn = random.Random(text)
        rows.append([drawn.uniform(-3, 3) for _ in range(width)])
    return rows


def embeddings(rows: Sequence[object], *, order: Sequence[int] | None = None, **fields: object) -> Response:
    """Return an answer with these vectors, in another order where one is given."""
    data = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
    data = [data[at] for at in order] if order is not None else data
    return Response({"object": "list", "data": data, "model": "m", **fields})


@dataclass
class EmbeddingService:
    """Answers with vectors; a share of requests fails, in a way that the seed decides.

    ``answered`` counts the texts that were embedded, and ``on_answer`` is called before an answer is sent.
    """

    vectors: Vectors = hashed
    key: str | None = None
    faults: float = 0.0
    quota: int | None = None
    answered: Counter[str] = field(default_factory=Counter)
    random: random.Random = field(default_factory=lambda: random.Random(0))
    on_answer: Callable[[Counter[str]], None] = lambda _: None
    requests: int = 0
    last: Sequence[str] = ()

    def __call__(self, sent: Sent) -> Response:
        self.requests += 1
        if self.key is not None and sent.headers.get("authorization") != f"Bearer {self.key}":
            given = sent.headers.get("authorization")
            return refusal(f"Incorrect API key provided: {given}", 401, "invalid_api_key")
        if self.quota is not None and self.requests > self.quota:
            return refusal(
                "You exceeded your current quota, please check your plan", 429, "insufficient_quota"
            )
        if self.random.random() < self.faults:
            return self._fault()
        self.last = texts = sent.body["input"]
        self.answered.update(texts)
        self.on_answer(self.answered)
        return embeddings(self.vectors(texts), usage={"prompt_tokens": 5, "total_tokens": 5})

    def _fault(self) -> Response:
        return self.random.choice(
            [
                refusal("overloaded", 503),
                refusal("slow down", 429),
                Response(b"<html>", 502),
                Response({"error": {"message": "upstream failed", "code": 500}}),
                Response({"error": {"message": "internal"}}, 500),
            ]
        )


@contextmanager
def embedding(service: Callable[[Sent], Response]) -> Iterator[ChatServer]:
    """Run a service in threads of this process."""
    with serving(service) as server:
        yield server
