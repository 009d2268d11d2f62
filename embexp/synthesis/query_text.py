"""The text of queries: cleaning, and the recognition of unusable queries."""

from __future__ import annotations

import html
import re
import unicodedata

from embexp.data.words import words
from embexp.synthesis.chatter_patterns import chatter_pattern, refusal_pattern
from embexp.synthesis.prompts import printable

_MAX_CHARACTERS = 300
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)\s]*\)")
_ROLE = re.compile(r":[a-z][\w:+.-]*:`~?\.?([^`<]*)(?:<[^`>]*>)?`")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_EMPHASIS = re.compile(r"`+|\*{1,3}(?=\S)|(?<=\S)\*{1,3}|~~")
_LEAD = re.compile(r"^(?:[-*+>#•·]+\s+|\d{1,3}[.)]\s+)+")
_ADDRESS = re.compile(r"\w+://|www\.|\S@\S+\.\w|[\w-]+\.[\w-]+\.[a-z]{2,}/\S")
_CODE = re.compile(r"[{}=;|\\]|\(\)|</|->|::|\$\w")


def key(query: str) -> str:
    """Return a query without case, punctuation and extra spacing, so that equal queries have equal keys."""
    return " ".join(words(unicodedata.normalize("NFKC", query).casefold()))


def clean(text: str) -> str:
    """Return a text on one line without markup: HTML tags, Markdown and reStructuredText marks, list signs.

    Args:
        text: A sentence, a title or a heading.

    Returns:
        The text as somebody would type it, without a colon at its end.
    """
    text = _IMAGE.sub(" ", text)
    text = _LINK.sub(r"\1", text)
    text = _ROLE.sub(r"\1", text)
    text = html.unescape(_TAG.sub(" ", text))
    text = " ".join(_EMPHASIS.sub("", text).split())
    return _LEAD.sub("", text).rstrip(" :").strip()


def acceptable(query: str, *, least: int, most: int) -> bool:
    """Return whether a cleaned text can be a query.

    Args:
        query: A text that ``clean`` returned.
        least: The fewest words.
        most: The most words.

    Returns:
        False for a text that is too short or too long, contains an address or code, or is mostly not letters.
    """
    if not least <= len(words(query)) <= most or len(query) > _MAX_CHARACTERS:
        return False
    if _ADDRESS.search(query) or _CODE.search(query):
        return False
    dense = "".join(query.split())
    letters = sum(character.isalpha() or unicodedata.category(character)[0] == "M" for character in dense)
    return letters >= 2 and letters >= 0.6 * len(dense)


_QUOTES = "\"'“”„«»‘’`*_"
_LABEL = re.compile(
    r"^(?:search\s+)?(?:question|query|q|answer|a|keywords?|claim|scenario|title|passage|positive|negative|entry)"
    r"\s*#?\d{0,3}\s*[:：]\s*",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"^(?:\(?\d{1,3}[.):]|[-*•+>#]+)\s+")
_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    r"|\bi(?:'m| am) (?:just |only )?an? (?:ai|(?:large )?language model)\b"
    r"|\bi(?:'m| am) (?:sorry|afraid),? (?:but )?(?:i|that|this|as)\b"
    r"|^i(?:'m| am) sorry\W*$"
    r"|\bi(?: (?:cannot|can ?not|can['’]t|won['’]t|will not)|(?: a|['’])m (?:unable|not able) to) "
    r"(?:assist|help|comply|fulfil+|provide|generate|create|write|answer|continue|produce|engage|do that)\b"
    r"|\b(?:against|violates?) (?:my|our|the) (?:guidelines|polic(?:y|ies)|programming)\b"
    r"|\bmy (?:training data|knowledge cut-?off)\b",
    re.IGNORECASE,
)
_CHATTER = re.compile(
    r"^(?:sure|certainly|of course|absolutely|gladly|no problem|great|okay|ok|got it)\b[\w ]{0,12}[!,.:;—–]"
    r"|^(?:here (?:are|is|you go|come)|here['’]s|below (?:are|is))\b"
    r"|^the following (?:are|is|questions|queries|passage)\b"
    r"|^(?:i hope (?:this|that|these)|let me know|feel free to|as requested)\b|^note:"
    r"|^please (?:provide|note that|let me know)\b"
    r"|\b(?:based on|according to|mentioned in|described in|stated in|given in) (?:the|this|that)"
    r" (?:given |provided |above |following )?(?:passage|text|excerpt|document|context|snippet|article)\b"
    r"|\b(?:the|this) (?:given |provided |above |following )?(?:passage|excerpt|snippet)\b(?! of\b)"
    r"|\bwhat does (?:the|this) (?:text|document|context) (?:say|state|describe|mention)\b"
    r"|\bpassages? \d\b|</?passage\b|\[(?:insert|your|topic|name|todo)[^\]]*\]|\blorem ipsum\b",
    re.IGNORECASE,
)
_DANGER = re.compile(r"<\s*(?:script|iframe|img|svg|object|embed|style)\b|javascript:|^[=@]", re.IGNORECASE)
_JSON = re.compile(r"^[\[{]|[\"']\s*:\s*[\"'\[{]|\"(?:query|queries|number|evidence)\"")


def tidy_query(text: str) -> str:
    """Return a query on one line without numbering, label, quotation marks and markup around it."""
    text = " ".join(printable(text).split())
    before = None
    while text != before:
        before = text
        text = _LABEL.sub("", _NUMBER.sub("", clean(text))).strip()
        text = _unquoted(text)
    return text


def tidy_passage(text: str) -> str:
    """Return a passage without control characters, label, and quotation marks around the whole of it."""
    text = printable(text).strip()
    text = "\n".join(" ".join(line.split()) for line in text.splitlines())
    text = re.sub(r"\n{3,}", "\n\n", re.sub(r"\*\*|__|^#+ ", "", text, flags=re.MULTILINE))
    return _unquoted(_LABEL.sub("", text).strip())


def is_refusal(text: str) -> bool:
    """Return whether a text declines the task, in any of the usual languages."""
    beginning = text[:2000]
    return bool(_REFUSAL.search(beginning) or refusal_pattern().search(beginning.lower()))


def chatter(text: str) -> str | None:
    """Return why a tidied text is chatter about the task rather than a query or passage, or None."""
    if is_refusal(text):
        return "refusal"
    if match := _CHATTER.search(text) or chatter_pattern().search(text.lower()):
        return f"chatter: {text[slice(*match.span())]!r}"  # as it is written
    if match := _DANGER.search(text):
        return f"markup or formula: {match.group(0)!r}"
    if _JSON.search(text):
        return "a piece of JSON"
    return None


def _unquoted(text: str) -> str:
    """Remove quotation marks around the whole text; an apostrophe inside stays."""
    while len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
        text = text[1:-1].strip()
    return text
