"""What a word sounds like: loanwords in several scripts and spellings have one phonetic key."""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby

_SOUNDS = {
    **{"dzh": "j", "shch": "sh", "kh": "h", "ph": "f", "th": "t", "ts": "s", "ck": "k", "ch": "ch"},
    **{"ce": "se", "ci": "si", "cy": "si", "c": "k", "qu": "kv", "q": "k", "x": "ks", "w": "v", "y": "i"},
    **{"ee": "i", "oo": "u"},
}
"""Letters that languages write for the same sound; ``ch`` stays, so that its ``c`` becomes no ``k``."""
_SOUND = re.compile("|".join(sorted(_SOUNDS, key=len, reverse=True)))


def phonetic_key(word: str) -> str:
    """Return what a word sounds like, in Latin letters.

    "Протокол", "protocol" and "Protokoll" are all "protokol". Letters of other scripts are transliterated
    (anyascii), letters for the same sound become one, and so do doubled letters; other signs are left out.

    Args:
        word: In lower case.
    """
    from anyascii import anyascii

    latin = word if word.isascii() else anyascii(word).lower()
    sounds = _SOUND.sub(lambda found: _SOUNDS[found[0]], latin)
    return "".join(letter for letter, _ in groupby(filter(str.isalpha, sounds)))


def script(letter: str) -> str:
    """Return the script of a letter, such as ``LATIN``; empty for a sign that has no name."""
    return unicodedata.name(letter, "").partition(" ")[0]
