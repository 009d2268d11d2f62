"""Chunkers: documents cut into passages that fit the model, at their natural boundaries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Protocol

from annotated_types import Interval

from embexp.data.continuation import Continuation
from embexp.data.fences import mark_code, opens_fence
from embexp.data.records import Chunk, Document
from embexp.data.table_rows import is_table
from embexp.data.words import SENTENCE_END, unspaced, words
from embexp.errors import ConfigError
from embexp.progress import progress
from embexp.ranges import check_ranges
from embexp.storage.files import sha256_of

_SPARE = 2  # tokens for the line break between title and text, which some tokenizers count
_LETTERS_PER_TOKEN = 40  # at most: a text with more is longer than its budget, and cut without being counted
_HEADING = re.compile(r" {0,3}(#{1,6}) +(\S.*)")
_CLOSING = re.compile(r"\s+#+$")
# A separator belongs to the segment before it, so that the segments of a text, joined, are the text.
_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_CLAUSE = re.compile(r"[，；：、،؛]\s*")
_LINE = re.compile(r"\n")
_WORD = re.compile(r"\s+")
_BLOCK = 200_000
"""Characters that are cut at a time; a longer text shows its progress."""
_PARTS = 5_000
"""Parts of a text whose tokens are counted at a time."""
_LONGEST_REPEATED = 4
"""What names the cells of a table, or marks code, is repeated up to this part of a passage: a quarter."""
_BOUNDARIES = ("\n\n", "\n", ". ", "。", " ")
"""Where a long text is divided, in the order of preference."""
_Segment = tuple[str, int]
"""A part of a text and its length in tokens."""


class _Counter(Protocol):
    """Measures texts, in tokens or in words."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the length of each text."""


class TokenCounter(Protocol):
    """Counts tokens as the model in use does."""

    @property
    def limit(self) -> int:
        """The number of tokens of a passage that the model reads, without special tokens and its prompt."""

    @property
    def query_limit(self) -> int:
        """The number of tokens of a query that the model reads, without special tokens and its prompt."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the length of each text in tokens, without special tokens."""

    def unknown(self, texts: Sequence[str]) -> list[bool]:
        """Return of each text whether it has letters that the tokenizer does not know."""


class Chunker(Protocol):
    """Cuts documents into passages that fit the model.

    Chunks depend on the document and the tokenizer alone, since they are cached; their ids are unique over
    all documents. No word of the document is lost.
    """

    def chunk(self, document: Document, tokens: TokenCounter) -> list[Chunk]:
        """Return the document's chunks in reading order, none for an empty document.

        Args:
            document: Its headings are ``# Heading`` lines, whatever the format of its file.
            tokens: Counts tokens, and knows how many the model reads.
        """


@dataclass(frozen=True, kw_only=True)
class Headings:
    """Cuts at headings, and long sections between paragraphs, then sentences.

    No chunk mixes two sections. The title of a chunk is the document's title and the headings above the
    section ("Guide > Install > Windows").

    Args:
        max_tokens: The longest chunk, with its title; None takes the model's limit.
        overlap: How many tokens of a chunk the next one repeats, in sections longer than one chunk.
    """

    max_tokens: Annotated[int, Interval(ge=8, le=1_000_000)] | None = None
    overlap: Annotated[int, Interval(ge=0, le=1_000_000)] = 0

    def __post_init__(self) -> None:
        check_ranges(self, "chunker")
        _check_overlap("max_tokens", self.max_tokens, self.overlap)

    def chunk(self, document: Document, tokens: TokenCounter) -> list[Chunk]:
        """Return the document's chunks in reading order; a title without text is a chunk of its own."""
        limit = min(self.max_tokens or tokens.limit, tokens.limit)
        parts = [
            (" > ".join(name for name in (document.title, *path) if name), path, body)
            for path, body in _sections(document.text, document.title)
        ]
        sized = iter(_sized([text for title, _, body in parts for text in (title, body)], limit, tokens))
        passages: list[tuple[str, str]] = []
        for title, path, body in parts:
            (_, title_size), (_, size) = next(sized), next(sized)
            if title_size + size + _SPARE <= limit:
                passages.append((title, body))
                continue
            if title_size > limit // 2:  # the headings go into the text, which can be cut
                title, body = document.title, "\n\n".join([*path, body])
            passages += _passages(title, body, tokens, limit, self.overlap)
        return _chunks(document, passages)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Cuts into chunks of one size, between sentences where there are any, regardless of headings.

    Args:
        tokens: The longest chunk, with its title.
        overlap: How many tokens of a chunk the next one repeats.
    """

    tokens: Annotated[int, Interval(ge=8, le=1_000_000)] = 128
    overlap: Annotated[int, Interval(ge=0, le=1_000_000)] = 32

    def __post_init__(self) -> None:
        check_ranges(self, "chunker")
        _check_overlap("tokens", self.tokens, self.overlap)

    def chunk(self, document: Document, tokens: TokenCounter) -> list[Chunk]:
        """Return the document's chunks in reading order; a title without text is a chunk of its own."""
        passages = _passages(
            document.title, document.text, tokens, self.tokens, self.overlap, by_sentence=True
        )
        return _chunks(document, passages)


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Makes one chunk of each document, however long; the model truncates what does not fit."""

    def chunk(self, document: Document, tokens: TokenCounter) -> list[Chunk]:  # noqa: ARG002 - the protocol
        """Return the document as one chunk; an empty document has none."""
        return _chunks(document, [(document.title, document.text)])


class _Words:
    """Counts words, for texts that are cut whatever the model."""

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(words(text)) for text in texts]


def cut_at_sentences(text: str, most: int) -> Iterator[str]:
    """Yield consecutive parts of a text of at most ``most`` words, cut between sentences where there are any.

    Args:
        text: What to cut; the parts, joined, are the text.
        most: The longest part, in words; letters in scripts without spaces.
    """
    yield from _pack(text, most, 0, _Words(), by_sentence=True)


def _passages(
    title: str, body: str, tokens: TokenCounter, limit: int, overlap: int, *, by_sentence: bool = False
) -> Iterator[tuple[str, str]]:
    """Yield (title, text) passages of at most ``limit`` tokens."""
    title = _shortened(title, tokens, limit // 2)
    budget = max(limit - tokens.count([title])[0] - _SPARE, 1)
    overlap = min(overlap, budget - 1)
    for text in _pack(body, budget, overlap, tokens, by_sentence=by_sentence, complete=True):
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


def _check_overlap(name: str, size: int | None, overlap: int) -> None:
    if size is not None and overlap >= size:
        raise ConfigError(
            f"chunker.overlap={overlap}: give fewer tokens than chunker.{name}, which is {size}."
        )


def _sections(text: str, title: str = "") -> Iterator[tuple[tuple[str, ...], str]]:
    """Split a text at its ``# Heading`` lines, those inside code fences excepted.

    Args:
        text: Text with headings as ``# Heading`` lines.
        title: The document's title; a first heading that repeats it is dropped.

    Yields:
        The headings above a section, outermost first, and its text. A section without text is yielded only
        if no section below it carries its heading.
    """
    path: list[tuple[int, str]] = []
    body: list[str] = []
    for line, in_code in mark_code(text.split("\n")):
        heading = None if in_code else _HEADING.fullmatch(line.rstrip())
        if heading is None:
            body.append(line)
            continue
        level, name = len(heading.group(1)), _CLOSING.sub("", heading.group(2))
        yield from _section(path, body, below=bool(path) and level > path[-1][0])
        body = []
        path = [(above, kept) for above, kept in path if above < level] + [(level, name)]
        if len(path) == 1 and name.casefold() == title.casefold():
            path = [(level, "")]
    yield from _section(path, body, below=False)


def _section(
    path: list[tuple[int, str]], body: list[str], *, below: bool
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield a section; ``below`` says that the next section is below it and carries its heading too."""
    names = tuple(name for _, name in path if name)
    text = "\n".join(body)
    if text.strip():
        yield names, text
    elif names and path[-1][1] and not below:
        yield names[:-1], names[-1]


def _pack(
    text: str,
    budget: int,
    overlap: int,
    tokens: _Counter,
    *,
    by_sentence: bool = False,
    complete: bool = False,
) -> Iterator[str]:
    """Yield consecutive parts of a text, each as long as ``budget`` tokens allow.

    Args:
        text: What to cut.
        budget: The longest part, in tokens.
        overlap: How many tokens of a part the next one repeats, in whole words.
        tokens: Counts tokens.
        by_sentence: Cut between sentences even where paragraphs would fit.
        complete: Complete the parts that a table or a code block continues in, where there is room for it.
    """
    fence, follow = _followed(text, budget, tokens) if complete else (0, None)
    room = budget - fence  # the one that closes a code block comes in addition
    group: list[_Segment] = []
    total = 0
    fresh = False  # whether the group holds more than what it repeats
    for segment in _segments(text, room - fence, tokens, by_sentence=by_sentence):
        if fresh and total + segment[1] > room and not (follow and follow.closes(segment[0])):
            part = _joined(group)
            yield from _fitting(follow.completed(part) if follow else part, budget, tokens)
            left = room - segment[1]
            group = _tail(group, min(overlap, left - fence), tokens)
            if follow and (line := follow.before(segment[0], _joined(group))):
                group = _begun(line, group, left, room // _LONGEST_REPEATED, tokens)
            total = sum(size for _, size in group)
        group.append(segment)
        if follow:
            follow.read(segment[0])
        total += segment[1]
        fresh = True
    if fresh:
        yield from _fitting(_joined(group), budget, tokens)


def _joined(group: list[_Segment]) -> str:
    return "".join(part for part, _ in group)


def _followed(text: str, budget: int, tokens: _Counter) -> tuple[int, Continuation | None]:
    """Return the tokens of a text's longest line that opens a code block, and what completes its parts.

    Where fences would take too much of each part, nothing does.
    """
    fences = {line.strip() for line in text.splitlines() if opens_fence(line)}
    longest = max(tokens.count([f"{fence}\n" for fence in fences]), default=0)
    return (longest, Continuation()) if 2 * longest <= budget // _LONGEST_REPEATED else (0, None)


def _begun(line: str, tail: list[_Segment], left: int, most: int, tokens: _Counter) -> list[_Segment]:
    """Return the first segments of a part: the line to repeat, unless it is too long, and the overlap."""
    size = tokens.count([line])[0]
    if size > min(most, left):
        return tail
    return [(line, size), *_tail(tail, left - size, tokens)]


def _segments(text: str, budget: int, tokens: _Counter, *, by_sentence: bool = False) -> Iterator[_Segment]:
    """Yield a text in segments of at most ``budget`` tokens; a very long one in blocks, with a bar."""
    if len(text) <= _BLOCK:
        yield from _split(text, budget, tokens, by_sentence=by_sentence)
        return
    with progress("Cutting a long text (characters)", total=len(text)) as bar:
        for block in _blocks(text):
            yield from _split(block, budget, tokens, by_sentence=by_sentence)
            bar.advance(len(block))


def _blocks(text: str) -> Iterator[str]:
    """Yield a text in parts of at most ``_BLOCK`` characters, cut where the least is torn apart."""
    start = 0
    while len(text) - start > _BLOCK:
        end = start + _BLOCK
        for boundary in _BOUNDARIES:
            if (found := text.rfind(boundary, start + _BLOCK // 2, end)) >= 0:
                end = found + len(boundary)
                break
        yield text[start:end]
        start = end
    yield text[start:]


def _split(text: str, budget: int, tokens: _Counter, *, by_sentence: bool = False) -> list[_Segment]:
    """Cut a text into segments of at most ``budget`` tokens with as few cuts inside sentences as can be.

    Tables are cut between rows.
    """
    segments = _sized(_cut(text, _PARAGRAPH), budget, tokens)
    if by_sentence:
        parts = [part for segment, _ in segments for part in _cut_sentences(segment)]
        segments = _sized(parts, budget, tokens)
    else:
        parts_of_long = [_cut_sentences(each) for each, size in segments if size > budget]
        segments = _recut(segments, parts_of_long, budget, tokens)
    for separator in (_LINE, _CLAUSE, _WORD):
        segments = _recut(
            segments, [_cut(each, separator) for each, size in segments if size > budget], budget, tokens
        )
    letters = [_letters(segment, budget) for segment, size in segments if size > budget]
    return _recut(segments, letters, budget, tokens)


def _recut(segments: list[_Segment], parts: list[list[str]], budget: int, tokens: _Counter) -> list[_Segment]:
    """Replace the segments that are too long with ``parts``, all of which are counted in one call."""
    sized = iter(_sized([part for group in parts for part in group], budget, tokens))
    groups = iter(parts)
    cut: list[_Segment] = []
    for segment in segments:
        cut += [next(sized) for _ in next(groups)] if segment[1] > budget else [segment]
    return cut


def _sized(parts: list[str], budget: int, tokens: _Counter) -> list[_Segment]:
    """Return parts with their lengths; counting a very long one would take tokenizers quadratic time."""
    surely = budget * _LETTERS_PER_TOKEN
    counted = iter(_counted([part for part in parts if len(part) <= surely], tokens))
    return [(part, next(counted) if len(part) <= surely else surely) for part in parts]


def _counted(parts: list[str], tokens: _Counter) -> list[int]:
    """Return the parts' lengths in tokens; of very many with a bar."""
    if len(parts) <= _PARTS:
        return tokens.count(parts)
    counts: list[int] = []
    with progress("Counting a long text's tokens", total=len(parts)) as bar:
        for start in range(0, len(parts), _PARTS):
            counts += tokens.count(parts[start : start + _PARTS])
            bar.advance(min(_PARTS, len(parts) - start))
    return counts


def _cut_sentences(text: str) -> list[str]:
    """Return a paragraph cut after its sentences, or after its rows if it is a table."""
    return _cut(text, _LINE if is_table(text) else SENTENCE_END)


def _cut(text: str, separator: re.Pattern[str]) -> list[str]:
    ends = [match.end() for match in separator.finditer(text)]
    starts = [0, *ends]
    parts = [text[start:end] for start, end in zip(starts, [*ends, len(text)], strict=True)]
    return [part for part in parts if part]


def _letters(text: str, size: int) -> list[str]:
    """Cut a text every ``size`` characters; in unspaced scripts between words."""
    if not unspaced(text):
        return [text[start : start + size] for start in range(0, len(text), size)]
    parts = [""]
    for word in _cut_words(text):
        if parts[-1] and len(parts[-1]) + len(word) > size:
            parts.append("")
        parts[-1] += word
    return [part[start : start + size] for part in parts for start in range(0, len(part), size)]


def _cut_words(text: str) -> list[str]:
    """Return a text cut after each of its words and, in unspaced scripts, letters."""
    ends, at = [], 0
    for word in words(text):
        at = text.index(word, at) + len(word)
        ends.append(at)
    return [text[start:end] for start, end in pairwise([0, *ends[:-1], len(text)])] if ends else [text]


def _tail(group: list[_Segment], overlap: int, tokens: _Counter) -> list[_Segment]:
    """Return the last words of a group, at most ``overlap`` tokens of them."""
    tail: list[_Segment] = []
    left = overlap
    for segment, size in reversed(group):
        if left <= 0:
            break
        if size <= left:
            tail.insert(0, (segment, size))
            left -= size
            continue
        last = (_cut_words(segment) if unspaced(segment) else _cut(segment, _WORD))[-left:]
        for word, length in zip(reversed(last), reversed(tokens.count(last)), strict=True):
            if length > left:
                break
            tail.insert(0, (word, length))
            left -= length
        break
    return tail


def _fitting(text: str, budget: int, tokens: _Counter) -> Iterator[str]:
    """Yield a text, or its halves if it has more tokens than its segments have together."""
    if len(text) < 2 or tokens.count([text])[0] <= budget:
        yield text
        return
    middle = len(text) // 2
    blank = text.rfind(" ", 1, middle)
    cut = blank if blank > 0 else len(_letters(text, middle)[0])
    yield from _fitting(text[:cut], budget, tokens)
    yield from _fitting(text[cut:], budget, tokens)
