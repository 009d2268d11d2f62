"""The language of a text or of a corpus, as py3langid recognises it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")
_PASSAGES = 1_000
_BLOCK = 500
"""Characters that are judged at once: titles and other short passages show their language together only."""
_BLOCKS = 200
_ALIASES = {"nb": "no", "nn": "no"}


@dataclass(frozen=True, slots=True)
class CorpusLanguage:
    """The language of most passages, and how many of them are in it.

    Args:
        code: Its ISO 639-1 code; None where no language has more than half of them, or there is too
            little text.
        share: The share of the text in it, from 0 to 1.
    """

    code: str | None
    share: float


def evenly(items: Sequence[T]) -> Sequence[T]:
    """Return 1,000 to 1,999 items spread evenly over all of them, or all where there are fewer."""
    return items[:: max(len(items) // _PASSAGES, 1)]


def corpus_language(passages: Sequence[str]) -> CorpusLanguage:
    """Return the language of a corpus, judged by up to 1,000 passages spread evenly over it.

    Args:
        passages: Its passages.
    """
    text = " ".join(" ".join(passage.split())[:_BLOCK] for passage in evenly(passages))
    blocks = [text[at : at + _BLOCK] for at in range(0, len(text) - _BLOCK + 1, _BLOCK)]
    blocks = blocks[:: max(len(blocks) // _BLOCKS, 1)]
    if not blocks:
        return CorpusLanguage(None, 0.0)
    found = Counter(language_of(block)[0] for block in blocks)
    code, count = found.most_common(1)[0]
    share = count / len(blocks)
    return CorpusLanguage(code if share > 0.5 else None, share)


def language_of(text: str) -> tuple[str, float]:
    """Return the ISO 639-1 code of a text's language, and how sure that is, from 0 to 1."""
    code, probability = identifier().classify(text)
    return _ALIASES.get(code, code), float(probability)


@cache
def identifier() -> Any:
    """Return py3langid's model of 97 languages; it takes a tenth of a second to load."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
