"""Filters that compare texts: chatter, length, language, copied queries, overlap, duplicates."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from embexp.data.near_duplicates import NearDuplicateIndex, similarity
from embexp.data.words import words
from embexp.errors import ConfigError
from embexp.synthesis.query_text import chatter, key
from embexp.synthesis.tasks import Draft


@dataclass(frozen=True)
class Chatter:
    """Drops chatter in the query, and in the passages where a language model wrote them."""

    passages: bool = False
    name: str = "chatter"

    def reasons(self, drafts: Sequence[Draft]) -> list[str | None]:
        """Return why each draft is dropped, None where it is kept."""
        return [self._why(draft) for draft in drafts]

    def _why(self, draft: Draft) -> str | None:
        texts = [draft.pair.query]
        if self.passages:
            texts += [draft.pair.positive, *draft.pair.negatives]
        return next((why for why in map(chatter, texts) if why), None)


_LEAST_WORDS = 3
_ELLIPSIS = re.compile(r"\s*(?:\.\.\.|…|\[\.\.\.\]|\[…\])\s*")


def occurs(quote: str, passage: str) -> bool:
    """Return whether a quote occurs in a passage.

    Only words are compared: models change quotation marks, dashes and Markdown when they copy. A quote with
    an ellipsis occurs where its parts follow one another.

    Args:
        quote: The quote; one under three words counts only where the passage has no more.
        passage: The text as the prompt shows it.
    """
    text = f" {key(passage)} "
    parts = [key(part) for part in _ELLIPSIS.split(quote) if key(part)]
    count = sum(len(part.split()) for part in parts)
    if not parts or (count < _LEAST_WORDS and count < len(text.split())):
        return False
    at = 0
    for part in parts:
        start = text.find(f" {part} ", at)
        if start < 0:
            return False
        at = start + len(part) + 1
    return True


_LEAST = 5
"""Shorter runs of words ("change the battery of") are shared by accident."""
_PASSAGE_CHARACTERS = 200_000


@dataclass(frozen=True)
class Copied:
    """Drops queries that copy a run of words from their passage.

    Args:
        share: The share of the query's words, in (0, 1], from which a common run counts as copied; the run
            must have at least five words, or be the whole of a query of four.
    """

    share: float
    name: str = "copied"

    def reasons(self, drafts: Sequence[Draft]) -> list[str | None]:
        """Return why each draft is dropped, None where it is kept."""
        return [self._why(draft) for draft in drafts]

    def _why(self, draft: Draft) -> str | None:
        words = key(draft.pair.query).split()
        run = len(words) if len(words) == _LEAST - 1 else max(_LEAST, math.ceil(self.share * len(words)))
        if run > len(words):
            return None
        passage = f" {key(draft.pair.positive[:_PASSAGE_CHARACTERS])} "
        for at in range(len(words) - run + 1):
            stretch = " ".join(words[at : at + run])
            if f" {stretch} " in passage:
                return f"copied: {stretch!r}"
        return None


_COUNTED = 20_000
"""Characters of a passage in which words are counted."""


@dataclass(frozen=True)
class Length:
    """Drops queries, and passages where ``passage`` has bounds, with too few or too many words.

    Args:
        query: The fewest and the most words of a query.
        passage: The same of a passage; None where people wrote the passages.
    """

    query: tuple[int, int]
    passage: tuple[int, int] | None = None
    name: str = "length"

    def reasons(self, drafts: Sequence[Draft]) -> list[str | None]:
        """Return why each draft is dropped, None where it is kept."""
        return [self._why(draft) for draft in drafts]

    def _why(self, draft: Draft) -> str | None:
        why = _outside("the query", draft.pair.query, self.query)
        if why is None and self.passage:
            texts = [("the positive", draft.pair.positive)]
            texts += [("a negative", text) for text in draft.pair.negatives]
            why = next((why for what, text in texts if (why := _outside(what, text, self.passage))), None)
        return why


def _outside(what: str, text: str, bounds: tuple[int, int]) -> str | None:
    count = len(words(text[:_COUNTED]))
    if bounds[0] <= count <= bounds[1]:
        return None
    return f"{what} has {count} words, not {bounds[0]} to {bounds[1]}"


@dataclass(frozen=True)
class Language:
    """Drops queries in another language, as py3langid recognises it; short and uncertain ones are kept.

    Args:
        languages: ISO 639-1 codes of the wanted languages.
        least_words: A query with fewer words is kept.
        sure: The probability from which another language is certain.
    """

    languages: tuple[str, ...]
    least_words: int = 5
    sure: float = 0.9
    name: str = "language"

    def check(self) -> None:
        """Check that the languages are known.

        Raises:
            ConfigError: One is not, or py3langid is missing.
        """
        _ = self._identifier

    def reasons(self, drafts: Sequence[Draft]) -> list[str | None]:
        """Return why each draft is dropped, None where it is kept."""
        return [self._why(draft) for draft in drafts]

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


_STEM = 4
"""Words are compared by their first letters, which replaces stemming in most languages."""


@dataclass(frozen=True)
class Overlap:
    """Drops queries that share too few words with their passage.

    Args:
        share: The share of the query's words of four letters or more, in [0, 1], that must begin like a word
            of the passage.
    """

    share: float
    name: str = "overlap"

    def reasons(self, drafts: Sequence[Draft]) -> list[str | None]:
        """Return why each draft is dropped, None where it is kept."""
        return [self._why(draft) for draft in drafts]

    def _why(self, draft: Draft) -> str | None:
        own = _stems(draft.pair.query)
        if not own:
            return None
        share = len(own & _stems(draft.pair.positive[:_PASSAGE_CHARACTERS])) / len(own)
        return None if share >= self.share else f"{share:.0%} of its words occur in the passage"


def _stems(text: str) -> set[str]:
    return {
        word[:_STEM] for word in words(text.casefold()) if len(word) >= _STEM and word not in _QUESTION_WORDS
    }


_QUESTION_WORDS = frozenset(
    "what when where which whose whom does have there this that with from".split()  # noqa: SIM905
)


_QUERY_RUN = 4
_PASSAGE_RUN = 8


@dataclass(frozen=True)
class Duplicates:
    """Drops near-duplicates among queries, and among positives where a language model wrote them.

    Args:
        threshold: The Jaccard similarity of character runs, in (0, 1], from which two texts count as the
            same; 1 means equal texts alone.
        passages: Whether positives must be new too, and negatives differ from their positive.
        seen: Queries that count as duplicates from the start, as those of the examples in prompts.
    """

    threshold: float
    passages: bool = False
    seen: tuple[str, ...] = ()
    name: str = "duplicates"

    @cached_property
    def _queries(self) -> NearDuplicateIndex:
        index = NearDuplicateIndex(threshold=self.threshold, width=_QUERY_RUN, normalise=str)
        for query in self.seen:
            index.add(key(query))
        return index

    @cached_property
    def _positives(self) -> NearDuplicateIndex:
        return NearDuplicateIndex(threshold=self.threshold, width=_PASSAGE_RUN, normalise=str)

    def reasons(self, drafts: Sequence[Draft]) -> list[str | None]:
        """Return why each draft is dropped, None where it is kept."""
        return [self._why(draft) for draft in drafts]

    def _why(self, draft: Draft) -> str | None:
        pair = draft.pair
        query, positive = key(pair.query), key(pair.positive) if self.passages else ""
        if match := self._queries.find(query):
            return f"there is {match.text!r}"
        if self.passages:
            if match := self._positives.find(positive):
                return f"there is a passage {match.text[:80]!r}"
            if any(self._alike(positive, key(text)) for text in pair.negatives):
                return "the negative repeats the positive"
            self._positives.add(positive)
        self._queries.add(query)
        return None

    def _alike(self, one: str, other: str) -> bool:
        return similarity(one, other, width=_PASSAGE_RUN, normalise=str) >= self.threshold
