"""The contract of a synthesis, its plan, and the synthesis that writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from embexp.data.records import Chunk, Document, Pair
from embexp.llm.llm import LLM, Request
from embexp.retrieval.index import Index

_CHARACTERS_PER_TOKEN = 4.0
"""English text in the vocabularies of current models; other languages need more tokens."""
_TOKENS_PER_MESSAGE = 6


@dataclass(frozen=True)
class Plan:
    """The requests that a synthesis will make.

    Args:
        target: The pairs to write.
        requests: The expected requests in all, those for rejected answers included.
        completion_tokens: The mean length of an answer, in tokens.
        first: Opens a new iterator over the requests of the first round; none is sent.
        capacity: The most queries that can be asked for; None where there is no bound.
    """

    target: int
    requests: int
    completion_tokens: float
    first: Callable[[], Iterator[Request]] = field(repr=False)
    capacity: int | None = None

    def prompt_tokens(self, sample: int = 50) -> float:
        """Return the mean length of a prompt in tokens, estimated at four characters each.

        Args:
            sample: How many of the first requests to render.
        """
        counts = [_tokens(request) for request in islice(self.first(), sample)]
        return sum(counts) / len(counts) if counts else 0.0


def _tokens(request: Request) -> float:
    contents: Iterable[str] = (message.content for message in request.messages)
    return sum(len(content) / _CHARACTERS_PER_TOKEN + _TOKENS_PER_MESSAGE for content in contents)


class Synthesis(Protocol):
    """Writes training pairs, an option of ``conf/synthesis``."""

    @property
    def invents_corpus(self) -> bool:
        """Whether it needs no documents: its passages are the corpus, which ``documents`` returns."""

    def fingerprint(self) -> str:
        """Return a digest of the files that shape the pairs (prompts, examples); empty without any."""

    def pairs(
        self,
        chunks: Sequence[Chunk],
        documents: Mapping[str, Document],
        *,
        llm: LLM | None = None,
        index: Index | None = None,
    ) -> Iterator[Pair]:
        """Yield pairs in a fixed order: the same inputs give the same pairs.

        Args:
            chunks: The corpus; empty where the synthesis invents it.
            documents: The documents' headers (without texts) by id.
            llm: The configured language model, None without one.
            index: A search over the chunks with the untuned model, None without a language model.
        """

    def documents(self, pairs: Iterable[Pair]) -> Iterator[Document]:
        """Yield the documents behind invented pairs; nothing where the corpus is not invented."""

    def plan(self, chunks: Sequence[Chunk], *, chat: bool, index: Index | None = None) -> Plan | None:
        """Return the requests that it will make, without making any; None without a language model.

        Args:
            chunks: The corpus.
            chat: Whether the language model chats; else it only completes text.
            index: Finds the context in the prompts.
        """

    def report(self) -> Mapping[str, object]:
        """Return counts, costs and diversity of the last run, JSON-able; empty where there are none."""


@dataclass(frozen=True, kw_only=True)
class NoSynthesis:
    """Writes no pairs at all."""

    @property
    def invents_corpus(self) -> bool:
        """False: there are no pairs."""
        return False

    def fingerprint(self) -> str:
        """Return an empty digest: no file shapes it."""
        return ""

    def pairs(
        self,
        chunks: Sequence[Chunk],  # noqa: ARG002
        documents: Mapping[str, Document],  # noqa: ARG002
        *,
        llm: LLM | None = None,  # noqa: ARG002
        index: Index | None = None,  # noqa: ARG002
    ) -> Iterator[Pair]:
        """Yield nothing."""
        yield from ()

    def documents(self, pairs: Iterable[Pair]) -> Iterator[Document]:  # noqa: ARG002
        """Yield nothing."""
        yield from ()

    def plan(self, chunks: Sequence[Chunk], *, chat: bool, index: Index | None = None) -> None:
        """Return None: no language model is used."""

    def report(self) -> Mapping[str, object]:
        """Return nothing."""
        return {}
