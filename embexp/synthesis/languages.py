"""The language that questions must be in: that of their document, or the one that the settings name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from embexp.data.records import Chunk
from embexp.data.words import words
from embexp.errors import ConfigError

DETECTED = "the language of"
"""How the default settings begin, which leave the language to the text."""
NAMES = {
    "af": "Afrikaans",
    "ar": "Arabic",
    "az": "Azerbaijani",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "bs": "Bosnian",
    "ca": "Catalan",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "ga": "Irish",
    "gl": "Galician",
    "gu": "Gujarati",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "ka": "Georgian",
    "kk": "Kazakh",
    "kn": "Kannada",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mr": "Marathi",
    "ms": "Malay",
    "ne": "Nepali",
    "nl": "Dutch",
    "no": "Norwegian",
    "pa": "Punjabi",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sq": "Albanian",
    "sr": "Serbian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "uz": "Uzbek",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
_RELATED = {
    "zh": ("wuu", "yue"),
    "en": ("pcm",),
    "de": ("lb",),
    "es": ("ext", "an", "gl", "ca"),
    "pt": ("gl",),
    "fr": ("wa", "gcf", "gcr", "oc"),
    "it": ("vec", "lij", "la"),
    "nl": ("af", "fy"),
    "no": ("nn", "nb", "da"),
    "da": ("no", "nn", "nb"),
    "sv": ("no", "nn", "da"),
    "ar": ("ary", "arz"),
    "fa": ("ps",),
    "hr": ("bs", "sr", "sl"),
    "sr": ("bs", "hr", "mk"),
    "bs": ("hr", "sr", "sl"),
    "cs": ("sk",),
    "sk": ("cs",),
    "id": ("ms", "jv"),
    "ms": ("id", "jv"),
    "ru": ("be", "bg"),
    "bg": ("mk", "ru"),
    "hi": ("mr", "ne", "sa"),
    "mr": ("hi", "ne", "gom"),
    "lv": ("ltg",),
    "az": ("tr",),
    "el": ("grc",),
    "he": ("hbo",),
}
"""Languages that short texts do not tell apart."""
_SAMPLE = 3000
"""Characters of a document by which its language is recognised."""
_LONG = 15
_SURE_OF_LONG = 0.9
_LEAST_WORDS = 5
_LEAST_OWN_WORDS = 4
_SURE_OF_SHORT = 0.6
"""A question's few words leave more room for doubt than a page, which has nothing of other languages."""
_POSSIBLE = 0.05


def check_recogniser(setting: str) -> None:
    """Check that languages can be recognised at all, before anything is paid for.

    Args:
        setting: The option that needs it, with its value.

    Raises:
        ConfigError: py3langid is not installed.
    """
    if find_spec("py3langid") is None:
        raise ConfigError(f"{setting} needs the package py3langid: pip install py3langid, or change it.")


def named_language(setting: str) -> str | None:
    """Return the ISO 639-1 code of the language that ``synthesis.language`` names; None where it names none.

    Args:
        setting: A code ("de"), a name ("German"), or a phrase with one ("simple German").
    """
    text = setting.strip().casefold()
    if text in NAMES:
        return text
    by_name = {name.casefold(): code for code, name in NAMES.items()}
    return next((by_name[word] for word in re.findall(r"\w+", text) if word in by_name), None)


def in_words(setting: str) -> str:
    """Return the language setting as a prompt should say it: codes become names.

    Raises:
        ConfigError: It looks like a code and is none.
    """
    code = setting.strip().casefold()
    if code in NAMES:
        return NAMES[code]
    if re.fullmatch(r"[a-z]{2}", code):
        raise ConfigError(
            f"synthesis.language={setting}: not a code that is known here; give one such as de, es or zh, or "
            "the language's name in English."
        )
    return setting


def language_of_text(text: str) -> str | None:
    """Return the code of a longer text's language, None where it is short or its language is not certain."""
    sample = " ".join(text[:_SAMPLE].split())
    if len(words(sample)) < _LONG:
        return None
    shares = _shares(sample)
    code = max(NAMES, key=lambda one: _share(shares, one))
    return code if _share(shares, code) >= _SURE_OF_LONG else None


def language_problem(text: str, expected: str | None, *, passage: str = "") -> str | None:
    """Return what is wrong with the language of a question, None where it may be the expected one.

    Short questions and names of things are often of no language; only a clear mismatch is a problem. Words
    that stand in the passage say nothing about the question around them, so the others are judged alone
    where there are enough of them.

    Args:
        text: The question, or a passage that a language model wrote.
        expected: The code of the language that it should be in; None accepts any.
        passage: What the question is about.
    """
    if expected is None:
        return None
    theirs = {word.casefold() for word in words(passage)}
    own = [word for word in words(text) if word.casefold() not in theirs and not word.isdigit()]
    if passage and len(own) >= _LEAST_OWN_WORDS:
        text = " ".join(own)
    elif len(words(text)) < _LEAST_WORDS:
        return None
    count = len(words(text))
    shares = _shares(text)
    best = max(NAMES, key=lambda code: _share(shares, code))
    sure = _SURE_OF_LONG if count >= _LONG else _SURE_OF_SHORT
    if best == expected or best in _RELATED.get(expected, ()) or _share(shares, best) < sure:
        return None
    if _share(shares, expected) > _POSSIBLE:
        return None
    return f"it is in {NAMES[best]} and must be in {NAMES[expected]}"


def _shares(text: str) -> Mapping[str, float]:
    """Return language -> probability, as py3langid ranks them."""
    from embexp.data.languages import identifier

    return {code: float(share) for code, share in identifier().rank(text)}


def _share(shares: Mapping[str, float], code: str) -> float:
    """Return the probability of a language, with those that cannot be told from it."""
    return shares.get(code, 0.0) + sum(shares.get(other, 0.0) for other in _RELATED.get(code, ()))


class DocumentLanguages:
    """The language of each document, recognised once from its first chunks.

    Args:
        chunks: The corpus.
        forced: The code of the language that the settings name; None recognises it.
    """

    def __init__(self, chunks: Iterable[Chunk], forced: str | None = None) -> None:
        self._forced = forced
        self._first: dict[str, list[str]] = {}
        self._found: dict[str, str | None] = {}
        for chunk in chunks if forced is None else ():
            texts = self._first.setdefault(chunk.document_id, [])
            if sum(map(len, texts)) < _SAMPLE:
                texts.append(chunk.text)  # the texts themselves: copies would double a large corpus

    def of(self, document_id: str) -> str | None:
        """Return the code of the language for questions about a document, None where it is not certain."""
        if self._forced is not None:
            return self._forced
        if document_id not in self._found:
            texts = self._first.get(document_id, ())
            self._found[document_id] = language_of_text(" ".join(text[:_SAMPLE] for text in texts))
        return self._found[document_id]
