"""Filters that look at the words alone: chatter, copied queries, length, language, overlap, evidence."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from embexp.errors import ConfigError
from embexp.synthesis.drafts import Draft
from embexp.synthesis.filters.funnel import Kept, sift
from embexp.synthesis.query_text import chatter, key, words


@dataclass(frozen=True)
class Chatter:
    """Looks at the query, and at the passages too where a language model wrote them."""

    passages: bool = False
    name: str = "chatter"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts whose texts are the thing itself."""
        return sift(drafts, self._why)

    def _why(self, draft: Draft) -> str | None:
        texts = [draft.pair.query]
        if self.passages:
            texts += [draft.pair.positive, *draft.pair.negatives]
        return next((why for why in map(chatter, texts) if why), None)


LEAST_WORDS = 3
_ELLIPSIS = re.compile(r"\s*(?:\.\.\.|…|\[\.\.\.\]|\[…\])\s*")


def occurs(quote: str, passage: str) -> bool:
    """Say whether a quote stands in a passage.

    Compared are the words alone: models change quotation marks, dashes and Markdown when they copy. A quote
    with an ellipsis counts where its parts follow one another.

    Args:
        quote: What is claimed to be copied; under three words prove nothing, unless the passage has no more.
        passage: The text as the prompt showed it.
    """
    text = f" {key(passage)} "
    parts = [key(part) for part in _ELLIPSIS.split(quote) if key(part)]
    count = sum(len(part.split()) for part in parts)
    if not parts or (count < LEAST_WORDS and count < len(text.split())):
        return False
    at = 0
    for part in parts:
        found = text.find(f" {part} ", at)
        if found < 0:
            return False
        at = found + len(part) + 1
    return True


LEAST = 5
"""Shorter runs of words ("change the battery of") are shared by accident."""
LOOKED_AT = 200_000


@dataclass(frozen=True)
class Copied:
    """Looks for one run of words that makes up ``share`` of the query and stands in the passage.

    Args:
        share: The part of the query's words, in (0, 1], from which a common run counts as copied; the run
            must have at least five words, or be the whole of a query of four.
    """

    share: float
    name: str = "copied"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts in words of their own."""
        return sift(drafts, self._why)

    def _why(self, draft: Draft) -> str | None:
        words = key(draft.pair.query).split()
        run = len(words) if len(words) == LEAST - 1 else max(LEAST, math.ceil(self.share * len(words)))
        if run > len(words):
            return None
        passage = f" {key(draft.pair.positive[:LOOKED_AT])} "
        for at in range(len(words) - run + 1):
            stretch = " ".join(words[at : at + run])
            if f" {stretch} " in passage:
                return f"copied: {stretch!r}"
        return None


COUNTED = 20_000
"""Characters of a passage that are looked at."""


@dataclass(frozen=True)
class Length:
    """Counts words of queries; of positives and negatives too where ``passage`` gives bounds.

    Args:
        query: The fewest and the most words of a query.
        passage: The fewest and the most words of a passage; None where people wrote the passages.
    """

    query: tuple[int, int]
    passage: tuple[int, int] | None = None
    name: str = "length"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts within the bounds."""
        return sift(drafts, self._why)

    def _why(self, draft: Draft) -> str | None:
        why = _outside("the query", draft.pair.query, self.query)
        if why is None and self.passage:
            texts = [("the positive", draft.pair.positive)]
            texts += [("a negative", text) for text in draft.pair.negatives]
            why = next((found for what, text in texts if (found := _outside(what, text, self.passage))), None)
        return why


def _outside(what: str, text: str, bounds: tuple[int, int]) -> str | None:
    count = len(words(text[:COUNTED]))
    if bounds[0] <= count <= bounds[1]:
        return None
    return f"{what} has {count} words, not {bounds[0]} to {bounds[1]}"


@dataclass(frozen=True)
class Language:
    """Asks py3langid; short queries, and those it is not sure about, are kept.

    Args:
        languages: ISO 639-1 codes of the wanted languages.
        least_words: A query with fewer words says too little about its language.
        sure: The probability from which another language counts as found.
    """

    languages: tuple[str, ...]
    least_words: int = 5
    sure: float = 0.9
    name: str = "language"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts whose query is, or may be, in a wanted language."""
        return sift(drafts, self._why)

    @cached_property
    def _identifier(self) -> Any:
        try:
            from py3langid.langid import (  # type: ignore[import-untyped]
                MODEL_FILE,
                LanguageIdentifier,
            )
        except ImportError as error:
            raise ConfigError(
                f"synthesis.filters.languages={list(self.languages)} needs the package py3langid: "
                "pip install py3langid, or leave languages empty."
            ) from error
        identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        unknown = sorted(set(self.languages) - set(identifier.labels))
        if unknown:
            raise ConfigError(
                f"synthesis.filters.languages: {unknown[0]!r} is not the ISO 639-1 code of a known language, "
                "as en, de or fr are."
            )
        return identifier

    def _why(self, draft: Draft) -> str | None:
        if len(words(draft.pair.query)) < self.least_words:
            return None
        language, probability = self._identifier.classify(draft.pair.query)
        if language in self.languages or probability < self.sure:
            return None
        return f"language {language}"


STEM = 4
"""Words are compared by their first letters, which stands in for stemming in most languages."""


@dataclass(frozen=True)
class Overlap:
    """Compares the query's longer words with the passage's.

    Args:
        share: The part of the query's words of four letters or more, in [0, 1], that must begin like a word
            of the passage.
    """

    share: float
    name: str = "overlap"

    def keep(self, drafts: Sequence[Draft]) -> Kept:
        """Keep drafts that speak of what their passage speaks of."""
        return sift(drafts, self._why)

    def _why(self, draft: Draft) -> str | None:
        asked = _stems(draft.pair.query)
        if not asked:
            return None
        share = len(asked & _stems(draft.pair.positive[:LOOKED_AT])) / len(asked)
        return None if share >= self.share else f"{share:.0%} of its words occur in the passage"


def _stems(text: str) -> set[str]:
    return {
        word[:STEM] for word in words(text.casefold()) if len(word) >= STEM and word not in _QUESTION_WORDS
    }


_QUESTION_WORDS = frozenset(
    (
        "what",
        "when",
        "where",
        "which",
        "whose",
        "whom",
        "does",
        "have",
        "there",
        "this",
        "that",
        "with",
        "from",
    )
)
