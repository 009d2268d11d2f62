"""Splits text at its natural seams and packs the pieces up to a number of tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator

from embexp.protocols import TokenCounter

HEADING = re.compile(r" {0,3}(#{1,6}) +(\S.*)")
CLOSING = re.compile(r"\s+#+$")
FENCE = re.compile(r"\s*(```|~~~)")
# Each seam belongs to the piece before it, so that the pieces of a text, joined, are the text.
PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
SENTENCE = re.compile(r"(?<=[.!?…。！？])\s+")
LINE = re.compile(r"\n")
WORD = re.compile(r"\s+")
SURELY_LONG = 40  # characters a token: what is longer is cut without being counted first
Piece = tuple[str, int]


def sections(text: str, title: str = "") -> Iterator[tuple[tuple[str, ...], str]]:
    """Split a text at its ``# Heading`` lines, those inside code fences excepted.

    Args:
        text: Markdown, or what a reader made to look like it.
        title: The document's title; a first heading that repeats it is dropped.

    Yields:
        The headings above a section, outermost first, and its text. A section without text is
        yielded only where no other one carries its heading.
    """
    path: list[tuple[int, str]] = []
    body: list[str] = []
    fenced = ""
    for line in text.split("\n"):
        fence = FENCE.match(line)
        if fence and fenced in ("", fence.group(1)):
            fenced = "" if fenced else fence.group(1)
        heading = None if fenced or fence else HEADING.fullmatch(line.rstrip())
        if heading is None:
            body.append(line)
            continue
        level, name = len(heading.group(1)), CLOSING.sub("", heading.group(2))
        yield from _section(path, body, below=bool(path) and level > path[-1][0])
        body = []
        path = [(above, kept) for above, kept in path if above < level] + [(level, name)]
        if len(path) == 1 and name.casefold() == title.casefold():
            path = [(level, "")]
    yield from _section(path, body, below=False)


def _section(
    path: list[tuple[int, str]], body: list[str], *, below: bool
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield a section; ``below`` says that the next one stands below it and carries its heading too."""
    names = tuple(name for _, name in path if name)
    text = "\n".join(body)
    if text.strip():
        yield names, text
    elif names and path[-1][1] and not below:
        yield names[:-1], names[-1]


def pack(
    text: str, budget: int, overlap: int, tokens: TokenCounter, *, by_sentence: bool = False
) -> Iterator[str]:
    """Yield consecutive parts of a text, each as long as ``budget`` tokens allow.

    Args:
        text: What to cut.
        budget: The longest part, in tokens.
        overlap: How many tokens of a part the next one repeats, in whole words.
        tokens: Counts tokens.
        by_sentence: Cut between sentences even where paragraphs would fit.
    """
    group: list[Piece] = []
    total = 0
    fresh = False  # whether the group holds more than what it repeats
    for piece in split(text, budget, tokens, by_sentence=by_sentence):
        if fresh and total + piece[1] > budget:
            yield from _fitting("".join(part for part, _ in group), budget, tokens)
            group = _tail(group, min(overlap, budget - piece[1]), tokens)
            total = sum(size for _, size in group)
        group.append(piece)
        total += piece[1]
        fresh = True
    if fresh:
        yield from _fitting("".join(part for part, _ in group), budget, tokens)


def split(text: str, budget: int, tokens: TokenCounter, *, by_sentence: bool = False) -> list[Piece]:
    """Cut a text into pieces of at most ``budget`` tokens with as few cuts inside sentences as can be."""
    pieces = _sized(_cut(text, PARAGRAPH), budget, tokens)
    for seam in (SENTENCE, LINE, WORD):
        if seam is SENTENCE and by_sentence:
            pieces = _sized([part for piece, _ in pieces for part in _cut(piece, seam)], budget, tokens)
        else:
            pieces = _recut(
                pieces, [_cut(piece, seam) for piece, size in pieces if size > budget], budget, tokens
            )
    letters = [_letters(piece, budget) for piece, size in pieces if size > budget]
    return _recut(pieces, letters, budget, tokens)


def _recut(pieces: list[Piece], parts: list[list[str]], budget: int, tokens: TokenCounter) -> list[Piece]:
    """Put ``parts`` in the places of the pieces that are too long, counted in one go."""
    sized = iter(_sized([part for group in parts for part in group], budget, tokens))
    groups = iter(parts)
    cut: list[Piece] = []
    for piece in pieces:
        cut += [next(sized) for _ in next(groups)] if piece[1] > budget else [piece]
    return cut


def _sized(parts: list[str], budget: int, tokens: TokenCounter) -> list[Piece]:
    surely = budget * SURELY_LONG
    counted = iter(tokens.count([part for part in parts if len(part) <= surely]))
    return [(part, next(counted) if len(part) <= surely else surely) for part in parts]


def _cut(text: str, seam: re.Pattern[str]) -> list[str]:
    ends = [match.end() for match in seam.finditer(text)]
    starts = [0, *ends]
    parts = [text[start:end] for start, end in zip(starts, [*ends, len(text)], strict=True)]
    return [part for part in parts if part]


def _letters(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _tail(group: list[Piece], overlap: int, tokens: TokenCounter) -> list[Piece]:
    """Return the last words of a group, at most ``overlap`` tokens of them."""
    tail: list[Piece] = []
    left = overlap
    for piece, size in reversed(group):
        if left <= 0:
            break
        if size <= left:
            tail.insert(0, (piece, size))
            left -= size
            continue
        words = _cut(piece, WORD)[-left:]
        for word, length in zip(reversed(words), reversed(tokens.count(words)), strict=True):
            if length > left:
                break
            tail.insert(0, (word, length))
            left -= length
        break
    return tail


def _fitting(text: str, budget: int, tokens: TokenCounter) -> Iterator[str]:
    """Yield a text whole, or halved where its tokens are more than the sum of its pieces' tokens."""
    if len(text) < 2 or tokens.count([text])[0] <= budget:
        yield text
        return
    middle = len(text) // 2
    blank = text.rfind(" ", 1, middle)
    cut = blank if blank > 0 else middle
    yield from _fitting(text[:cut], budget, tokens)
    yield from _fitting(text[cut:], budget, tokens)
