"""Fuzzy matching of words that no passage has: loanwords in another script, and typing errors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from embexp.data.phonetic_keys import phonetic_key, script
from embexp.data.words import unspaced

SHORTEST = 4
"""Shorter phonetic keys resemble one another by chance."""
SHORTEST_MISSPELLED = 5
"""Shorter words become others by one letter too often."""
LEAST_SIMILARITY = 0.85
"""Of two phonetic keys (Jaro-Winkler), from which on one term stands for the other."""
UNRELATED = 0.8
"""The similarity of words that have nothing to do with one another."""
MOST_KEYS = 8
"""The phonetic keys that are most like a word's, whose terms stand for it."""
WORDS_KEPT = 10_000
"""Words of questions whose look-up is kept for further questions."""
_START = 2
"""The first letters that two phonetic keys have in common."""


class FuzzyTerms:
    """The terms of a corpus by their phonetic keys."""

    def __init__(self, terms: Iterable[str]) -> None:
        """Sort the terms by how they begin; those with digits or in unspaced scripts are left out."""
        self._terms: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for term in terms:
            if found := _key_of(term):
                self._terms[found[:_START]][found].append(term)
        self.like = lru_cache(maxsize=WORDS_KEPT)(self._like)

    def _like(self, word: str) -> dict[str, float]:
        """Return the terms that a word matches, each with how well it does.

        Args:
            word: A term that is none of the corpus's own.

        Returns:
            Term -> a number in (0, 1], 1 for the same phonetic key: how much more alike the two keys are than
            those of unrelated words, by their Jaro-Winkler similarity (Winkler 1990).
        """
        from rapidfuzz.distance import JaroWinkler
        from rapidfuzz.process import extract

        sought = _key_of(word)
        if not sought or sought[:_START] not in self._terms:
            return {}
        nearby = self._terms[sought[:_START]]
        found = extract(
            *(sought, nearby.keys()),
            scorer=JaroWinkler.similarity,
            limit=MOST_KEYS,
            score_cutoff=LEAST_SIMILARITY,
        )
        return {
            term: (similarity - UNRELATED) / (1 - UNRELATED)
            for key, similarity, _ in found
            for term in nearby[key]
            if key == sought or script(term[0]) != script(word[0]) or _is_misspelled(word, term)
        }


def _is_misspelled(word: str, term: str) -> bool:
    """Return whether a word can be a term with one letter too many, too few, changed, or two swapped."""
    from rapidfuzz.distance import OSA

    return min(len(word), len(term)) >= SHORTEST_MISSPELLED and OSA.distance(word, term, score_cutoff=1) <= 1


def _key_of(term: str) -> str:
    """Return a term's phonetic key; an empty one where it is too short or the term is no plain word."""
    if not term.isalpha() or unspaced(term):
        return ""
    found = phonetic_key(term)
    return found if len(found) >= SHORTEST else ""
