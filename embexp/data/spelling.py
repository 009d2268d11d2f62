"""Whether a tokenizer spells words or does not know their letters, as in a language never read by a model."""

from __future__ import annotations

from collections.abc import Sequence

from embexp.data.chunking import TokenCounter
from embexp.data.languages import evenly
from embexp.data.words import unspaced, words

SPELLED = 2 / 3
"""A word is spelled where it has more tokens than this share of its letters."""
SHORTEST = 3
"""The letters of a word that can tell whether words are spelled."""
MOSTLY = 0.5
"""The share of spelled words above which a model has never read a language."""
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
"""A small model that has read fifty languages."""


def is_spelled(word: str, tokens: int) -> bool:
    """Return whether a word of so many tokens has about as many as letters."""
    return tokens > max(SPELLED * len(word), SHORTEST - 1)


def spelled_share(tokens: TokenCounter, texts: Sequence[str]) -> float:
    """Return which share of the words that can tell are spelled, 0 where there are none.

    Args:
        tokens: The tokenizer.
        texts: Of 2,000 and more, 1,000 to 1,999 are looked at, evenly spread.
    """
    (share,) = _shares(tokens, [[word for text in evenly(texts) for word in _telling(text)]])
    return share


def mostly_spelled(tokens: TokenCounter, texts: Sequence[str]) -> list[bool]:
    """Return of each text whether more than half of its words that can tell are spelled."""
    return [share > MOSTLY for share in _shares(tokens, [_telling(text) for text in texts])]


def _telling(text: str) -> list[str]:
    """Return the words of a text that can tell: long ones, and the letters of unspaced scripts."""
    return [word for word in words(text) if word.isalpha() and (len(word) >= SHORTEST or unspaced(word))]


def _shares(tokens: TokenCounter, texts: Sequence[Sequence[str]]) -> list[float]:
    """Return which share of each text's words are spelled or unknown, 0 for one without words."""
    distinct = list({word for found in texts for word in found})
    looked_up = zip(distinct, tokens.count(distinct), tokens.unknown(distinct), strict=True)
    spelled = {word for word, length, unknown in looked_up if unknown or is_spelled(word, length)}
    return [sum(word in spelled for word in found) / max(len(found), 1) for found in texts]
