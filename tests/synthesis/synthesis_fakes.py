"""A language model for tests: it answers by schema, and always the same to the same request."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from embexp.data.records import Chunk, Generator, Pair
from embexp.llm.llm import Answer, Completion, Request, Usage
from embexp.retrieval.index import Hit

PASSAGE = re.compile(r"<passage-(\d+)-(\w{8})>\n(.*?)\n</passage-\1-\2>", re.DOTALL)
SLOT = re.compile(r"^(\d+)\. (\w+): ", re.MULTILINE)
AGAIN = re.compile(r"^Write only numbers? ([\d, ]+) again", re.MULTILINE)
SYLLABLES = [first + last for first in "bdfgklmnprstv" for last in ("a", "e", "i", "o", "u", "ir", "on")]


def draw(*key: object) -> random.Random:
    return random.Random(hashlib.sha256(repr(key).encode()).digest())


def made_up(rng: random.Random, count: int) -> str:
    return " ".join("".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) for _ in range(count))


def numbers(request: Request) -> list[int]:
    last = request.messages[-1].content
    if found := AGAIN.search(last):
        return [int(number) for number in found.group(1).split(",")]
    return [int(number) for number, _ in SLOT.findall(last)]


def passages(request: Request) -> list[str]:
    return [text for message in request.messages for _, _, text in PASSAGE.findall(message.content)]


def answer_queries(request: Request, rng: random.Random) -> dict[str, object]:
    shown = passages(request)
    queries = []
    for number in numbers(request):
        quotes = [
            {"passage": at, "quote": " ".join(text.split()[:8])} for at, text in enumerate(shown[:2], start=1)
        ]
        queries.append({"number": number, "query": f"how would {made_up(rng, 5)} work?", "evidence": quotes})
    return {"queries": queries}


def answer_entries(request: Request, rng: random.Random) -> dict[str, object]:
    return {
        "entries": [
            {
                "number": number,
                "query": f"what about {made_up(rng, 5)}?",
                "positive": made_up(rng, 40) + ".",
                "negative": made_up(rng, 40) + ".",
            }
            for number in numbers(request)
        ]
    }


def answer_topics(request: Request, rng: random.Random) -> dict[str, object]:
    count = int(re.search(r"exactly (\d+)", request.messages[1].content).group(1))  # type: ignore[union-attr]
    return {"topics": [{"name": made_up(rng, 3), "description": made_up(rng, 8)} for _ in range(count)]}


def answer_grades(request: Request, rng: random.Random) -> dict[str, object]:
    found = re.findall(r"<item-(\d+)-", request.messages[-1].content)
    return {"grades": [{"number": int(number), "grade": 1 + int(number) % 5} for number in found]}


MAKERS: dict[str, Callable[[Request, random.Random], dict[str, object]]] = {
    "queries": answer_queries,
    "entries": answer_entries,
    "topics": answer_topics,
    "grades": answer_grades,
}


def good(request: Request) -> str:
    """Return a right answer to any request."""
    rng = draw([message.content for message in request.messages], request.seed)
    if request.schema is None:
        words = re.findall(r"Passage: (.*)\nQuestion:$", request.messages[-1].content)[-1].split()
        return f" How do {' '.join(rng.sample(words, min(6, len(words))))} fit?\nPassage: and so on"
    return json.dumps(MAKERS[request.schema_name](request, rng))


@dataclass
class FakeLLM:
    """Answers with ``reply(request)``: a text, None for an unanswered request, or a whole Answer."""

    reply: Callable[[Request], object] = good
    chat: bool = True
    name: str = "fake"
    asked: list[Request] = field(default_factory=list)
    ahead: int = 1
    finish_reason: str = "stop"

    def complete(self, requests: Iterable[Request]) -> Iterator[Answer]:
        waiting: list[Request] = []
        stream = iter(requests)
        while True:
            while len(waiting) < self.ahead and (request := next(stream, None)) is not None:
                waiting.append(request)
                self.asked.append(request)
            if not waiting:
                return
            yield self._answer(waiting.pop(0))

    def _answer(self, request: Request) -> Answer:
        text = self.reply(request)
        if isinstance(text, Answer):
            return text
        usage = Usage(requests=1, prompt_tokens=400, completion_tokens=100, usd=0.001)
        return Answer(request, Completion(str(text), "fake-1", self.finish_reason, usage))

    def usage(self) -> Usage:
        return Usage(requests=len(self.asked))


@dataclass
class FakeIndex:
    """Finds by counting shared words; ``blind`` chunks are never found."""

    chunks: Sequence[Chunk]
    blind: frozenset[str] = frozenset()

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        return [self._search(query, k) for query in queries]

    def _search(self, query: str, k: int) -> list[Hit]:
        asked = set(query.casefold().split())
        scored = [
            Hit(chunk.id, float(len(asked & set(chunk.passage.casefold().split()))))
            for chunk in self.chunks
            if chunk.id not in self.blind
        ]
        return sorted(scored, key=lambda hit: (-hit.score, hit.id))[:k]


def knowledge(documents: int = 6, each: int = 4, seed: int = 0) -> list[Chunk]:
    return [
        Chunk(
            id=f"c{document}-{position}",
            document_id=f"d{document}",
            text=made_up(draw(seed, document, position), 40) + ".",
            title=f"Document {document}",
            position=position,
        )
        for document in range(documents)
        for position in range(each)
    ]


def simple_pair(query: str, kind: str = "question", chunk: str = "c", model: str | None = "m") -> Pair:
    generator = Generator(kind="rag", model=model, persona="an expert" if model else None, difficulty="easy")
    return Pair(
        id=query,
        query=query,
        positive="a passage of five words",
        document_id=f"d{chunk}",
        chunk_id=chunk,
        query_type=kind,
        context_ids=("topic",),
        generator=generator,
    )
