"""Passages as data in a prompt: no control characters, cut to size, between marks they cannot forge."""

from __future__ import annotations

import re
from dataclasses import dataclass

from embexp.storage.files import sha256_of

# C0 and C1 controls but tab and newline, zero-width and bidirectional marks, lone surrogates, non-characters.
_CONTROL = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff0-\uffff\ud800-\udfff]"
)
_GAP = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Quoted:
    """A passage as a prompt shows it; ``mark`` is a digest of its text, which the text cannot contain."""

    number: int
    mark: str
    text: str


def printable(text: str) -> str:
    """Return the text without characters that print nothing and could hide or break something."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n")
    return _CONTROL.sub("", text)


def shorten(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, cut at a space where there is one near the end."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    at = max(head.rfind(" "), head.rfind("\n"))
    return (head[:at] if at > limit * 0.8 else head).rstrip()


def quoted(number: int, text: str, *, limit: int) -> Quoted:
    """Return a passage ready to stand in a prompt.

    Args:
        number: How the prompt calls it.
        text: A passage of any origin and length.
        limit: The most characters to show.
    """
    shown = _GAP.sub("\n\n", printable(shorten(text, 2 * limit))).strip()
    shown = shorten(shown, limit)
    return Quoted(number, sha256_of(shown)[:8], shown)
