"""Texts that are longer than a model reads: how many there are, what is lost of them, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from embexp.data.chunking import TokenCounter

PASSAGES, QUERIES = "passages", "queries"
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Truncation:
    """How many texts are longer than a model reads, and how much of them it drops.

    Attributes:
        limit: How many tokens of a text the model reads.
        texts: How many texts there are.
        cut: How many of them are longer.
        tokens: The tokens of all texts.
        lost: How many of these the model does not read.
        lost_share: The same as a share of the tokens of the texts that are cut; 0 where none is.
    """

    limit: int
    texts: int
    cut: int
    tokens: int
    lost: int
    lost_share: float


def truncation(texts: Iterable[str], tokens: TokenCounter, *, limit: int) -> Truncation:
    """Count the texts that are longer than ``limit`` tokens, and the tokens beyond it.

    Args:
        texts: The texts, read once, a few at a time.
        tokens: Counts as the model does.
        limit: ``tokens.limit`` for passages, ``tokens.query_limit`` for queries.
    """
    stream, count, cut, total, cut_total = iter(texts), 0, 0, 0, 0
    while batch := list(islice(stream, _BATCH)):
        sizes = tokens.count(batch)
        longer = [size for size in sizes if size > limit]
        count, total = count + len(sizes), total + sum(sizes)
        cut, cut_total = cut + len(longer), cut_total + sum(longer)
    lost = cut_total - cut * limit
    return Truncation(limit, count, cut, total, lost, lost / cut_total if cut else 0.0)


def truncation_lines(truncations: Mapping[str, Truncation]) -> list[str]:
    """Return a sentence on each kind of text that is cut: how many, what is lost, and what to do.

    Args:
        truncations: Kind of text, such as ``passages`` or ``benchmark queries`` -> the counts.
    """
    return [
        f"{each.cut:,} of {each.texts:,} {kind} {'is' if each.cut == 1 else 'are'} longer than the "
        f"{each.limit:,} tokens that the model reads: {each.lost_share:.0%} of their tokens "
        f"({each.lost / each.tokens:.1%} of all) are lost. {_remedy(kind)}"
        for kind, each in truncations.items()
        if each.cut
    ]


def nothing_is_cut(truncations: Mapping[str, Truncation]) -> str:
    """Return that the model reads every text whole, with the number of each kind."""
    kinds = [f"{each.texts:,} {kind} (up to {each.limit:,} tokens)" for kind, each in truncations.items()]
    return f"The model reads all texts whole: {', '.join(kinds)}."


def _remedy(kind: str) -> str:
    longer = "choose a model that reads longer texts (a larger model.max_tokens, where it allows that)"
    if kind == PASSAGES:
        return f"Cut them into shorter chunks (chunker=headings, chunker=windows), or {longer}."
    if kind.endswith(QUERIES):
        return f"Ask shorter questions, or {longer}."
    return f"To have them read whole, {longer}."
