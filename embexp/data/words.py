"""Words and sentences of any script: the one tokeniser of BM25, keywords, word counts and the leak audit."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, pairwise
from typing import NamedTuple

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2E80, 0x2FDF),  # radicals of Han characters
    (0x3005, 0x3007),  # iteration mark, closing mark, zero
    (0x3031, 0x312F),  # kana, Bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xA000, 0xA4CF),  # Yi
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D),  # half-width kana
    (0x1AFF0, 0x1B16F),  # kana
    (0x20000, 0x323AF),  # Han
)
"""Blocks of the scripts that put no space between words; there each letter counts as one word."""
_JOINERS = "\u200c\u200d"
"""Zero-width marks that stand inside words of Persian and Indic languages."""
SPACED_ENDS = "؟۔।॥።։"
"""Ends of sentences, followed by a space, in Arabic, Urdu, Indic languages, Amharic and Armenian."""
UNSPACED_ENDS = "。！？｡។။"
"""Ends of sentences in scripts that put no space after them."""
CLOSERS = "」』”’）)】》〉］\\]"
"""What closes a quotation or a bracket after the end of a sentence, as the content of a character class."""
SENTENCE_END = re.compile(rf"(?<=[.!?…{SPACED_ENDS}])\s+|[{UNSPACED_ENDS}]+[{CLOSERS}]*\s*")
"""What divides two sentences; in unspaced scripts with the mark that ends the first one."""
_ASCII_WORD = re.compile(r"\w+", re.ASCII)
_PRESENTATION_FORMS = {
    code: form
    for code in (*range(0xFB50, 0xFE00), *range(0xFE70, 0xFEFD), *range(0xFF01, 0xFFEF))
    if (form := unicodedata.normalize("NFKC", chr(code)).strip()) and form != chr(code)
}
"""Full-width, half-width and shaped Arabic letters, each with the ordinary one."""


def _character_class(codes: Iterable[int]) -> str:
    """Return the characters of a regular expression's class that match the code points, in ranges."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in ranges)


class _Patterns(NamedTuple):
    unspaced: re.Pattern[str]
    letter: re.Pattern[str]
    """A letter of an unspaced script, with its marks."""
    spaced: re.Pattern[str]
    """A word of a spaced script; only for texts without letters of unspaced ones."""
    run: re.Pattern[str]
    """A word, or a run of letters of unspaced scripts."""
    word: re.Pattern[str]
    """A word, or a letter of an unspaced script."""
    presented: re.Pattern[str]
    """A letter that has an ordinary form."""


@cache
def _patterns() -> _Patterns:
    """Compile the patterns, which takes a twentieth of a second."""
    unspaced = _character_class(
        code
        for first, last in _UNSPACED
        for code in range(first, last + 1)
        if chr(code).isalpha() or code == 0x3007
    )
    # \w does not match combining marks, without which Hindi or Arabic words are split. Variation selectors
    # are marks too, but choose a glyph only.
    marks = _JOINERS + _character_class(
        code
        for code in range(0x300, 0x1F000)
        if unicodedata.category(chr(code)) in ("Mn", "Mc") and not 0xFE00 <= code <= 0xFE0F
    )
    letter = f"[{unspaced}][{marks}]*"
    word = f"(?![{unspaced}])\\w(?:(?![{unspaced}])[\\w{marks}])*"
    return _Patterns(
        unspaced=re.compile(f"[{unspaced}]"),
        letter=re.compile(letter),
        spaced=re.compile(f"\\w[\\w{marks}]*"),
        run=re.compile(f"(?:{letter})+|{word}"),
        word=re.compile(f"{letter}|{word}"),
        presented=re.compile(f"[{_character_class(_PRESENTATION_FORMS)}]"),
    )


def words(text: str) -> list[str]:
    """Return the words of a text in any script, unchanged.

    Args:
        text: Any text.

    Returns:
        Runs of letters, digits, underscores and combining marks; single letters, with their marks, in scripts
        without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese).
    """
    if text.isascii():
        return _ASCII_WORD.findall(text)
    patterns = _patterns()
    return (patterns.word if patterns.unspaced.search(text) else patterns.spaced).findall(text)


def runs(text: str) -> list[str]:
    """Return words as ``words`` does, with neighbouring letters of unspaced scripts together."""
    if text.isascii():
        return _ASCII_WORD.findall(text)
    patterns = _patterns()
    return (patterns.run if patterns.unspaced.search(text) else patterns.spaced).findall(text)


def unspaced(text: str) -> bool:
    """Return whether a text holds letters of scripts that put no space between words."""
    return not text.isascii() and bool(_patterns().unspaced.search(text))


def terms(text: str) -> list[str]:
    """Return the words of a text, with pairs of neighbouring letters in place of letters without spaces.

    Two letters are a word more often than one: 锅炉工 (boiler man) gives 锅炉 and 炉工. A letter that stands
    alone is a term. These are the overlapping bigrams that Lucene's analysers for Chinese and Japanese use.

    Args:
        text: Any text.

    Returns:
        For a text of spaced scripts, the same as ``words``.
    """
    return list(_terms(text, letters=False))


def search_terms(text: str) -> list[str]:
    """Return what a search compares: ``terms`` of the text in one width, and what they are made of.

    With the letters of unspaced scripts beside their pairs, a query of a single letter finds its passages.
    With the words of an identifier beside it (``max_connections``), a question in plain words finds it.

    Args:
        text: A text in lower case.
    """
    if not text.isascii():
        if _patterns().presented.search(text):
            text = text.translate(_PRESENTATION_FORMS)
        text = unicodedata.normalize("NFC", text)
    found = _terms(text, letters=True)
    return list(found if "_" not in text else chain.from_iterable(map(_with_parts, found)))


def _with_parts(word: str) -> list[str]:
    """Return a word and, if it is an identifier with underscores, the words in it."""
    return [word, *filter(None, word.split("_"))] if "_" in word else [word]


def _terms(text: str, *, letters: bool) -> Iterator[str]:
    if text.isascii() or not _patterns().unspaced.search(text):
        yield from words(text)
        return
    patterns = _patterns()
    for run in patterns.run.findall(text):
        found = patterns.letter.findall(run)
        if not found:
            yield run
            continue
        if letters or len(found) == 1:
            yield from found
        for first, second in pairwise(found):
            yield first + second
