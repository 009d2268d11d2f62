"""How a text becomes the terms that BM25 compares: its words, without stop words, stemmed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from embexp.data.languages import CorpusLanguage, corpus_language
from embexp.data.words import search_terms
from embexp.errors import ConfigError

_Germanic = Literal["danish", "dutch", "english", "german", "norwegian", "porter", "swedish", "yiddish"]
_Romance = Literal["catalan", "french", "italian", "portuguese", "romanian", "spanish"]
_European = Literal["armenian", "basque", "finnish", "greek", "hungarian", "irish", "lithuanian", "russian"]
_Other = Literal["arabic", "hindi", "indonesian", "nepali", "serbian", "tamil", "turkish"]
StemmerName = Literal[_Germanic, _Romance, _European, _Other]
_Western = Literal["danish", "dutch", "english", "english_plus", "french", "german", "italian", "norwegian"]
StopwordsName = Literal[
    _Western, "chinese", "korean", "portuguese", "russian", "spanish", "swedish", "turkish"
]

log = logging.getLogger(__name__)

_STEMMERS = {
    **{"ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english"},
    **{"es": "spanish", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi"},
    **{"hu": "hungarian", "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian"},
    **{"ne": "nepali", "nl": "dutch", "no": "norwegian", "pt": "portuguese", "ro": "romanian"},
    **{"ru": "russian", "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish"},
}
_STOPWORDS = {
    **{"da": "danish", "de": "german", "en": "english", "es": "spanish", "fr": "french", "it": "italian"},
    **{"ko": "korean", "nl": "dutch", "no": "norwegian", "pt": "portuguese", "ru": "russian"},
    **{"sv": "swedish", "tr": "turkish", "zh": "chinese"},
}


@dataclass(frozen=True)
class Analyzer:
    """Turns texts into terms.

    Args:
        stemmer: The language of the stemmer; None for no stemming.
        stopwords: The language whose most common words are left out; None keeps all words.
    """

    stemmer: str | None
    stopwords: str | None

    def tokenizer(self) -> Any:
        """Return a tokenizer of bm25s, which numbers the terms that it meets.

        Raises:
            ConfigError: There is no such stemmer or list of stop words.
        """
        from bm25s.tokenization import Tokenizer

        try:
            return Tokenizer(splitter=search_terms, stopwords=self.stopwords, stemmer=self._stem)
        except ValueError as error:
            raise ConfigError(f"retriever.stopwords is {self.stopwords}: {error}, auto, or null.") from error

    def term(self, word: str) -> str | None:
        """Return the term of a word as ``search_terms`` gives it; None for a stop word."""
        if word in self._tokenizer.stopwords:
            return None
        return self._stem(word) if self._stem else word

    def terms(self, text: str) -> list[str]:
        """Return the terms of a text, in its order."""
        found = (self.term(word) for word in search_terms(text.lower()))
        return [term for term in found if term is not None]

    @cached_property
    def _tokenizer(self) -> Any:
        return self.tokenizer()

    @cached_property
    def _stem(self) -> Any:
        import Stemmer

        if self.stemmer is None:
            return None
        try:
            return Stemmer.Stemmer(self.stemmer).stemWord
        except KeyError as error:
            known = ", ".join(Stemmer.algorithms())
            raise ConfigError(
                f"retriever.stemmer is {self.stemmer}: give one of {known}, auto, or null."
            ) from error


def analyzer_for(
    texts: Sequence[str],
    *,
    stemmer: StemmerName | Literal["auto"] | None = "auto",
    stopwords: StopwordsName | Literal["auto"] | None = "auto",
    what: str = "BM25",
) -> Analyzer:
    """Return the analyzer of texts, and log the language where it is detected.

    Args:
        texts: The texts, or some of them.
        stemmer: A language; ``auto`` takes the one that most texts are in, if there is a stemmer for it, and
            English where none leads; None for no stemming.
        stopwords: Likewise, for stop words.
        what: What the log calls the texts.
    """
    if "auto" not in (stemmer, stopwords):
        return Analyzer(stemmer, stopwords)
    language = corpus_language(texts)
    code = language.code or "en"
    found = Analyzer(
        _STEMMERS.get(code) if stemmer == "auto" else stemmer,
        _STOPWORDS.get(code) if stopwords == "auto" else stopwords,
    )
    log.info(
        "%s: %s; stemming: %s, stop words: %s.",
        *(what, _told(language), found.stemmer or "none", found.stopwords or "none"),
    )
    return found


def _told(language: CorpusLanguage) -> str:
    if language.code:
        return f"{language.share:.0%} of the text is in the language {language.code!r}"
    return "no language leads, or there is too little text to tell"
