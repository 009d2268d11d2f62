"""How telling a word is: TF-IDF over the chunks of a knowledge base, in any language."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from embexp.synthesis.queries import words

COMMON = 0.2
"""A word that stands in more than this share of the chunks says nothing about any of them."""


@dataclass(frozen=True, slots=True)
class Terms:
    """In how many of ``chunks`` passages each word occurs."""

    chunks: int
    frequency: Mapping[str, int]

    @classmethod
    def read(cls, passages: Iterable[str]) -> Terms:
        """Count words over a stream of passages; memory grows with the vocabulary alone."""
        frequency: Counter[str] = Counter()
        chunks = 0
        for passage in passages:
            frequency.update(set(words(passage.casefold())))
            chunks += 1
        return cls(chunks, frequency)

    def weights(self, text: str) -> dict[str, float]:
        """Return each word's TF-IDF, (1 + ln tf) · (ln((1 + n) / (1 + df)) + 1), in order of appearance.

        Source: Manning, Raghavan & Schütze, Introduction to Information Retrieval (2008), section 6.4.
        """
        return {
            word: (1 + math.log(count))
            * (math.log((1 + self.chunks) / (1 + self.frequency.get(word, 0))) + 1)
            for word, count in Counter(words(text.casefold())).items()
        }

    def keywords(self, text: str, count: int) -> list[str]:
        """Return the ``count`` most telling words of a text, in the order in which it uses them."""
        weights = self.weights(text)
        best = sorted((word for word in weights if self._telling(word)), key=lambda word: -weights[word])
        chosen = set(best[:count])
        return [word for word in weights if word in chosen]

    def _telling(self, word: str) -> bool:
        common = self.chunks >= 10 and self.frequency.get(word, 0) > COMMON * self.chunks
        return not common and 3 <= len(word) <= 30 and sum(map(str.isalpha, word)) > len(word) / 2


def cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the cosine of two sparse vectors, 0 where one of them is empty."""
    dot = sum(weight * other[word] for word, weight in one.items() if word in other)
    norm = math.hypot(*one.values()) * math.hypot(*other.values())
    return dot / norm if norm else 0.0
