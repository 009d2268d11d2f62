"""Query strings: words of any script, markup taken off, and what a query must look like to be kept."""

from __future__ import annotations

import html
import re
import unicodedata
from functools import cache

ONE_CHARACTER_WORDS = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Thai, kana and Han write no spaces; there each character counts as one word."""
MAX_CHARACTERS = 300

_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)\s]*\)")
_ROLE = re.compile(r":[a-z][\w:+.-]*:`~?\.?([^`<]*)(?:<[^`>]*>)?`")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_EMPHASIS = re.compile(r"`+|\*{1,3}(?=\S)|(?<=\S)\*{1,3}|~~")
_LEAD = re.compile(r"^(?:[-*+>#•·]+\s+|\d{1,3}[.)]\s+)+")
_ADDRESS = re.compile(r"\w+://|www\.|\S@\S+\.\w")
_CODE = re.compile(r"[{}=;|\\]|\(\)|</|->|::|\$\w")


@cache
def _word_pattern() -> re.Pattern[str]:
    # \w leaves out combining marks, without which Hindi or Arabic words fall to pieces.
    marks = "".join(
        re.escape(chr(code))
        for code in range(0x300, 0x3000)
        if unicodedata.category(chr(code)) in ("Mn", "Mc")
    )
    return re.compile(f"[{ONE_CHARACTER_WORDS}]|(?:(?![{ONE_CHARACTER_WORDS}])[\\w{marks}])+")


def words(text: str) -> list[str]:
    """Return the words of a text in any script, as they are written.

    Args:
        text: Any text.

    Returns:
        Runs of letters, digits, underscores and combining marks; single characters in scripts without spaces.
    """
    return _word_pattern().findall(text)


def key(query: str) -> str:
    """Return what two queries have in common when only case, punctuation and spacing tell them apart."""
    return " ".join(words(unicodedata.normalize("NFKC", query).casefold()))


def clean(text: str) -> str:
    """Return a text on one line without markup: HTML tags, Markdown and reStructuredText marks, list signs.

    Args:
        text: A sentence, a title or a heading as its author wrote it.

    Returns:
        The text as somebody would type it; a colon at its end goes too.
    """
    text = _IMAGE.sub(" ", text)
    text = _LINK.sub(r"\1", text)
    text = _ROLE.sub(r"\1", text)
    text = html.unescape(_TAG.sub(" ", text))
    text = " ".join(_EMPHASIS.sub("", text).split())
    return _LEAD.sub("", text).rstrip(" :").strip()


def acceptable(query: str, *, least: int, most: int) -> bool:
    """Say whether a cleaned text can stand as a query.

    Args:
        query: A text that ``clean`` returned.
        least: The fewest words it may have.
        most: The most words it may have.

    Returns:
        False for a text that is too short or too long, holds an address or code, or is mostly not letters.
    """
    if not least <= len(words(query)) <= most or len(query) > MAX_CHARACTERS:
        return False
    if _ADDRESS.search(query) or _CODE.search(query):
        return False
    dense = "".join(query.split())
    letters = sum(character.isalpha() or unicodedata.category(character)[0] == "M" for character in dense)
    return letters >= 2 and letters >= 0.6 * len(dense)
