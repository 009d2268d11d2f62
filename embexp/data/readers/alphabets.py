"""The letters of languages in the encodings of old text files: evidence for which encoding a file has."""

from __future__ import annotations

import re

_WESTERN = {
    "de": "äöüß",
    "fr": "àâæçéèêëîïôœùûüÿ",
    "es gl": "áéíóúüñ",
    "pt gl": "áâãàçéêíóôõúü",
    "it": "àèéìíîòóùú",
    "sv fi": "åäöé",
    "da no": "æøåéòôü",
    "nl af": "áéíóúëïèöüê",
    "ca": "àçèéíïòóúü",
    "is fo": "áðéíóúýþæö",
    "et": "äõöüšž",
}
_CENTRAL = {
    "pl": "ąćęłńóśźż",
    "cs": "áčďéěíňóřšťúůýž",
    "sk": "áäčďéíĺľňóôŕšťúýž",
    "hu": "áéíóöőúüű",
    "hr sl bs": "čćđšž",
    "ro": "ăâîşţ",
}
_CYRILLIC = {
    "ru bg be": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
    "uk": "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",
    "sr mk": "абвгдђежзијклљмнњопрстћуфхцчџш",
}
_TURKISH = {"tr az": "çğıöşüâîû"}
_BALTIC = {"lt": "ąčęėįšųūž", "lv": "āčēģīķļņšūž", "et": "äõöüšž"}
_GREEK = {"el": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ"}
_HEBREW = {"he": "".join(map(chr, range(0x05D0, 0x05EB)))}
_ARABIC = {"ar fa ur": "".join(map(chr, range(0x0621, 0x0653))) + "پچژگکی"}
_THAI = {"th": "".join(map(chr, range(0x0E01, 0x0E5A)))}
ALPHABETS: dict[str, dict[str, str]] = {
    "cp1252": _WESTERN,
    "cp1250": _CENTRAL,
    "iso8859-2": _CENTRAL,
    "cp1255": _HEBREW,
    "cp1251": _CYRILLIC,
    "koi8-u": _CYRILLIC,
    "iso8859-5": _CYRILLIC,
    "cp866": _CYRILLIC,
    "mac-cyrillic": _CYRILLIC,
    "cp1253": _GREEK,
    "iso8859-7": _GREEK,
    "cp1254": _TURKISH,
    "cp1257": _BALTIC,
    "cp1256": _ARABIC,
    "iso8859-6": _ARABIC,
    "cp874": _THAI,
    "mac-roman": _WESTERN,
    "cp850": _WESTERN,
    "cp852": _CENTRAL,
}
"""Encoding -> ISO 639-1 codes of languages -> their letters beyond ASCII; the likelier encoding first."""
_OTHER_SCRIPTS = frozenset(
    name for name, alphabets in ALPHABETS.items() if alphabets in (_CYRILLIC, _GREEK, _HEBREW, _ARABIC, _THAI)
)
"""Encodings whose letters beyond ASCII do not stand in one word with those of ASCII."""
_WORD = re.compile(r"[^\W\d_]*[^\x00-\x7f\s][^\s\x21-\x40\x5b-\x60\x7b-\x7e]*")
_QUOTES = "\u2018\u2019\u201a\u201c\u201d\u201e\u2026\u2013\u2014\xa0\xab\xbb\xb7\xad\u2039\u203a"
_UNITS = "²³¹ªº°%‰€£®©™§µ"
_UPPER_SHARE = 0.5
_VOWELS = "аеёиоуыэюяіїє"
_VOWEL_SHARE = 0.3
_PENALTY = 0.8
_MIN_EAST_ASIAN = 6
"""How many characters have to speak for an East Asian encoding."""
_MARKS = "\u0e31\u0e34\u0e35\u0e36\u0e37\u0e38\u0e39\u0e47"
"""Thai vowels above and below a consonant."""


def fit(sample: bytes, encoding: str) -> tuple[float, int]:
    """Return how well an encoding makes words of bytes.

    Args:
        sample: Bytes with characters beyond ASCII.
        encoding: One of ``ALPHABETS``.

    Returns:
        The share of the characters beyond ASCII within words that are letters of one language, for the best
        language, and the number of such characters. 1 where there is none.
    """
    text = sample.decode(encoding, "replace")
    letters = [letter for word in _WORD.findall(text) for letter in _letters(word)]
    if encoding in _OTHER_SCRIPTS:
        mixed = re.findall(r"(?<=[A-Za-z])[^\W\d_A-Za-z]|[^\W\d_A-Za-z](?=[A-Za-z])", text)
        letters += ["?"] * len(mixed)
    if not letters:
        return 1.0, 0
    share = max(
        sum(letter.lower() in alphabet for letter in letters) / len(letters)
        for alphabet in ALPHABETS[encoding].values()
    )
    if sum(letter.isupper() for letter in letters) > _UPPER_SHARE * len(letters):
        share *= _PENALTY
    vowels = sum(letter.lower() in _VOWELS for letter in letters)
    if ALPHABETS[encoding] is _CYRILLIC and vowels < _VOWEL_SHARE * len(letters):
        share *= _PENALTY
    return share, len(letters)


def _letters(word: str) -> list[str]:
    """Return the characters of a word beyond ASCII, with ? for one that does not fit the one before it."""
    plain = word.strip(_QUOTES).rstrip(_UNITS).lstrip("¿¡§£€©")
    found = []
    for before, letter in zip(" " + plain, plain, strict=False):
        if not letter.isascii() and letter not in "\u2019\u2013\u2014\xad\xa0":
            stray_mark = letter in _MARKS and not before.isalpha()
            found.append("?" if stray_mark or (letter.isupper() and before.islower()) else letter)
    return found


def east_asian(sample: bytes) -> str | None:
    """Return the East Asian encoding that clearly makes Japanese, Korean or Chinese of bytes, or None."""
    for name in ("cp932", "euc_jp"):
        letters = _decoded(sample, name)
        if letters and _share(letters, r"[\u3040-\u30ff]") >= 0.2:
            return name
    letters = _decoded(sample, "euc_kr")
    if letters and _share(letters, r"[\uac00-\ud7a3]") >= 0.95:
        return "cp949"
    common = {"gb18030": (0xB0, 0xD7), "big5": (0xA4, 0xC6)}  # the rows of frequent characters
    shares = {
        name: _common_share(letters, name, first, last)
        for name, (first, last) in common.items()
        if (letters := _decoded(sample, name))
    }
    best = max(shares, key=lambda name: shares[name], default=None)
    return best if best and shares[best] >= 0.9 else None


def _decoded(sample: bytes, name: str) -> str:
    """Return the letters beyond ASCII, or an empty string where bytes are not in the encoding."""
    text = sample.decode(name, "replace")
    letters = "".join(letter for letter in text if not letter.isascii() and letter.isalpha())
    sure = len(letters) >= _MIN_EAST_ASIAN and text.count("\ufffd") <= 0.02 * len(letters)
    return letters if sure else ""


def _share(letters: str, pattern: str) -> float:
    return len(re.findall(pattern, letters)) / len(letters)


def _common_share(letters: str, name: str, first: int, last: int) -> float:
    rows = [letter.encode(name, "replace")[0] for letter in letters]
    return sum(first <= row <= last for row in rows) / len(rows)
