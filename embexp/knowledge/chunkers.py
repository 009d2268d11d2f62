"""Cuts documents into passages that fit the model; no word of a document is lost on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from embexp.errors import ConfigError
from embexp.knowledge.pieces import pack, sections
from embexp.protocols import TokenCounter
from embexp.storage.files import sha256_of
from embexp.types import Chunk, Document

BATCH = 256
SPARE = 2  # tokens for the line break between title and text, which some tokenizers count


@dataclass(frozen=True, kw_only=True)
class Headings:
    """Chunks that follow the document's own order: its headings, then paragraphs, then sentences.

    Each section is packed on its own, so that no chunk speaks of two things; a chunk's title is the
    document's title and the headings above it ("Guide > Install > Windows").

    Args:
        max_tokens: The longest chunk, with its title; None takes the model's own limit.
        overlap: How many tokens of a chunk the next one repeats, where a section does not fit in one.
    """

    max_tokens: int | None = None
    overlap: int = 0

    def __post_init__(self) -> None:
        _check_sizes("max_tokens", self.max_tokens, self.overlap)

    def chunk(self, document: Document, tokens: TokenCounter) -> list[Chunk]:
        """Return the document's chunks in reading order; a title without text is a chunk of its own."""
        limit = min(self.max_tokens or tokens.limit, tokens.limit)
        parts = [
            (" > ".join(name for name in (document.title, *path) if name), path, body)
            for path, body in sections(document.text, document.title)
        ]
        sizes = iter(tokens.count([text for title, _, body in parts for text in (title, body)]))
        passages: list[tuple[str, str]] = []
        for title, path, body in parts:
            title_size, size = next(sizes), next(sizes)
            if title_size + size + SPARE <= limit:
                passages.append((title, body))
                continue
            if title_size > limit // 2:  # the headings go into the text, which can be cut
                title, body = document.title, "\n\n".join([*path, body])
            passages += _packed(title, body, tokens, limit, self.overlap)
        return _chunks(document, passages)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Chunks of one fixed size, cut between sentences where there are any, whatever the headings say.

    Args:
        tokens: The longest chunk, with its title.
        overlap: How many tokens of a chunk the next one repeats.
    """

    tokens: int = 128
    overlap: int = 32

    def __post_init__(self) -> None:
        _check_sizes("tokens", self.tokens, self.overlap)

    def chunk(self, document: Document, tokens: TokenCounter) -> list[Chunk]:
        """Return the document's chunks in reading order; a title without text is a chunk of its own."""
        passages = _packed(document.title, document.text, tokens, self.tokens, self.overlap, by_sentence=True)
        return _chunks(document, passages)


@dataclass(frozen=True, kw_only=True)
class Whole:
    """One chunk for each document, however long; the model truncates what does not fit."""

    def chunk(self, document: Document, tokens: TokenCounter) -> list[Chunk]:  # noqa: ARG002 - the protocol
        """Return the document as one chunk; an empty document has none."""
        return _chunks(document, [(document.title, document.text)])


def truncated(chunks: Iterable[Chunk], tokens: TokenCounter) -> int:
    """Return how many chunks are longer than the model reads, so that it drops their ends."""
    stream, count = iter(chunks), 0
    while batch := list(islice(stream, BATCH)):
        count += sum(size > tokens.limit for size in tokens.count([chunk.passage for chunk in batch]))
    return count


def _packed(
    title: str, body: str, tokens: TokenCounter, limit: int, overlap: int, *, by_sentence: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield (title, text) passages of at most ``limit`` tokens."""
    title = _shortened(title, tokens, limit // 2)
    budget = max(limit - tokens.count([title])[0] - SPARE, 1)
    for text in pack(body, budget, min(overlap, budget - 1), tokens, by_sentence=by_sentence):
        yield title, text


def _shortened(title: str, tokens: TokenCounter, budget: int) -> str:
    """Return as many of a title's first words as fit."""
    words = title.split()[: max(budget, 1)]
    while words and tokens.count([" ".join(words)])[0] > budget:
        words = words[: len(words) * 3 // 4]
    return " ".join(words) if len(words) < len(title.split()) else title


def _chunks(document: Document, passages: Iterable[tuple[str, str]]) -> list[Chunk]:
    kept = [(title, text.strip("\n").rstrip()) for title, text in passages]
    kept = [(title, text) for title, text in kept if text.strip()]
    if not kept and document.title.strip():
        kept = [("", document.title.strip())]
    return [
        Chunk(sha256_of(document.id, position, title, text)[:16], document.id, text, title, position)
        for position, (title, text) in enumerate(kept)
    ]


def _check_sizes(name: str, size: int | None, overlap: int) -> None:
    if size is not None and size < 8:
        raise ConfigError(f"chunker.{name}={size}: a chunk of so few tokens says nothing; give 8 or more.")
    if overlap < 0 or (size is not None and overlap >= size):
        raise ConfigError(f"chunker.overlap={overlap}: give 0 or more tokens, and fewer than chunker.{name}.")
