"""The sentence that sums a document up: found, cut out, and never left standing in the text."""

from __future__ import annotations

import re

SENTENCE_END = re.compile(r"(?<=[.!?])[)\"'*_]*\s+(?=[A-Z0-9`\"'(\[*])")
ABBREVIATIONS = ("e.g.", "i.e.", "etc.", "vs.", "cf.", "approx.", "incl.", "no.", "dr.", "mr.", "st.")
MIN_WORDS = 2
MAX_WORDS = 40


def first_sentence(paragraph: str) -> tuple[str, str]:
    """Split a paragraph into its first sentence, on one line, and what follows it."""
    for match in SENTENCE_END.finditer(paragraph):
        head = paragraph[: match.end()].strip()
        if not head.lower().endswith(ABBREVIATIONS):
            return one_line(head), paragraph[match.end() :].strip()
    return one_line(paragraph), ""


def one_line(text: str) -> str:
    """Return the text with every run of white space as one blank."""
    return " ".join(text.split())


def usable(summary: str) -> bool:
    """Tell whether a sentence can serve as a query: 2 to 40 words, with letters in at least two."""
    words = [word for word in summary.split() if any(letter.isalpha() for letter in word)]
    return len(words) >= MIN_WORDS and len(summary.split()) <= MAX_WORDS


def stands_in(sentence: str, text: str) -> bool:
    """Tell whether a sentence occurs verbatim in a text, whatever the case, spacing and final stop."""
    wanted = one_line(sentence).casefold().rstrip(".!?: ")
    return bool(wanted) and wanted in one_line(text).casefold()
