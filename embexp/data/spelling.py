"""Whether a tokenizer spells words letter by letter, as those of a language that its model has never read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from embexp.data.chunking import TokenCounter
from embexp.data.languages import evenly
from embexp.data.words import words

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
    found = Counter(
        word for text in evenly(texts) for word in words(text) if word.isalpha() and len(word) >= SHORTEST
    )
    distinct = list(found)
    lengths = zip(distinct, tokens.count(distinct), strict=True)
    spelled = sum(found[word] for word, length in lengths if is_spelled(word, length))
    return spelled / max(found.total(), 1)
