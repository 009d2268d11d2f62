"""A language model's text as a query or a passage: wrapping taken off, chatter and refusals recognised."""

from __future__ import annotations

import re

from embexp.synthesis.passages import printable
from embexp.synthesis.queries import clean

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
    """Say whether a text declines the task instead of doing it."""
    return bool(_REFUSAL.search(text[:2000]))


def chatter(text: str) -> str | None:
    """Return why a tidied text is talk about the task and not the thing itself, None if it is not."""
    if is_refusal(text):
        return "refusal"
    if found := _CHATTER.search(text):
        return f"chatter: {found.group(0)!r}"
    if found := _DANGER.search(text):
        return f"markup or formula: {found.group(0)!r}"
    if _JSON.search(text):
        return "a piece of JSON"
    return None


def _unquoted(text: str) -> str:
    """Take off marks that stand around the whole text; an apostrophe inside is left alone."""
    while len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
        text = text[1:-1].strip()
    return text
