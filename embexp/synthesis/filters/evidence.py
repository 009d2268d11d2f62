"""Whether a quote occurs in a passage, whatever became of its spacing, case and punctuation on the way."""

from __future__ import annotations

import re

from embexp.synthesis.queries import key

LEAST_WORDS = 3
_ELLIPSIS = re.compile(r"\s*(?:\.\.\.|…|\[\.\.\.\]|\[…\])\s*")


def occurs(quote: str, passage: str) -> bool:
    """Say whether a quote stands in a passage.

    Compared are the words alone: models change quotation marks, dashes and Markdown when they copy. A quote
    with an ellipsis counts where its parts follow one another.

    Args:
        quote: What is claimed to be copied; under three words prove nothing, unless the passage has no more.
        passage: The text as the prompt showed it.
    """
    text = f" {key(passage)} "
    parts = [key(part) for part in _ELLIPSIS.split(quote) if key(part)]
    count = sum(len(part.split()) for part in parts)
    if not parts or (count < LEAST_WORDS and count < len(text.split())):
        return False
    at = 0
    for part in parts:
        found = text.find(f" {part} ", at)
        if found < 0:
            return False
        at = found + len(part) + 1
    return True
