"""BM25: the lexical baseline that an embedding model has to beat."""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from embexp.data.languages import CorpusLanguage, corpus_language, evenly
from embexp.data.records import Chunk
from embexp.data.words import search_terms
from embexp.errors import ConfigError
from embexp.memory import warn_of_memory
from embexp.progress import Bar, progress, track
from embexp.ranges import Share, check_ranges
from embexp.retrieval.index import Hit, best_columns, check_k, empty_corpus

if TYPE_CHECKING:
    from embexp.models.encoder import Embedder
    from embexp.models.vector_files import Vectors

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

BYTES_PER_CHARACTER = 6
"""Of a passage, that building the index takes: about 36 for a word and its place."""
_PASSAGES_PER_STEP = 100

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


@dataclass(frozen=True, kw_only=True)
class Bm25Retriever:
    """Ranks passages by the words they share with the query (Robertson and Zaragoza 2009; Lucene's variant).

    The defaults are Anserini's, which find more than 1.2 and 0.75 where longer passages say more.

    Args:
        k1: Term frequency saturation, 0 or more: the larger, the more repeated words count.
        b: Length normalisation, from 0 (none) to 1 (full).
        stemmer: The language of the stemmer ("running" matches "run"); ``auto`` takes the one that most
            passages are in, if there is a stemmer for it, and English where none leads; None for no stemming.
        stopwords: The language whose most common words are ignored; ``auto`` likewise; None keeps all words.
    """

    approximate: ClassVar[bool] = False
    k1: Annotated[float, Interval(ge=0, le=1_000)] = 0.9
    b: Share = 0.4
    stemmer: StemmerName | Literal["auto"] | None = "auto"
    stopwords: StopwordsName | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        check_ranges(self, "retriever")

    def index(
        self,
        chunks: Iterable[Chunk],
        embedder: Embedder | None = None,  # noqa: ARG002 - part of the Retriever protocol
        *,
        path: Path,
    ) -> Bm25Index:
        """Index the chunks' words in memory; the embedder is ignored and nothing is written.

        Raises:
            ConfigError: There is no such stemmer or list of stopwords.
            RetrievalError: There are no chunks.
        """
        import bm25s

        # With passages in the order of their ids, a stable sort by score breaks ties by id.
        ordered = sorted(chunks, key=lambda chunk: chunk.id)
        if not ordered:
            raise empty_corpus(path)
        words = self._words([chunk.passage for chunk in evenly(ordered)])
        _warn_of_memory(ordered)
        passages = (chunk.passage for chunk in track(ordered, "Reading words", total=len(ordered)))
        stream = words.streaming_tokenize(passages, update_vocab=True, allow_empty=False)
        tokens = _Tokens([array("I", numbers) for numbers in stream])
        # bm25s sets its logger to DEBUG, whatever level the program has set.
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        vocabulary = words.get_vocab_dict()
        model = bm25s.BM25(k1=self.k1, b=self.b, method="lucene", backend="numpy") if vocabulary else None
        if model is not None:
            with tokens.counted("Weighting words"):
                corpus = SimpleNamespace(ids=tokens, vocab=vocabulary)
                model.index(corpus, create_empty_token=False, show_progress=False)
        return Bm25Index([chunk.id for chunk in ordered], words, model)

    def _words(self, passages: Sequence[str]) -> Any:
        import Stemmer
        from bm25s.tokenization import Tokenizer

        stemmer_name, stopwords = self._languages(passages)
        try:
            stemmer = Stemmer.Stemmer(stemmer_name) if stemmer_name else None
        except KeyError as error:
            known = ", ".join(Stemmer.algorithms())
            raise ConfigError(
                f"retriever.stemmer is {self.stemmer}: give one of {known}, auto, or null."
            ) from error
        try:
            return Tokenizer(splitter=search_terms, stopwords=stopwords, stemmer=stemmer)
        except ValueError as error:
            raise ConfigError(f"retriever.stopwords is {self.stopwords}: {error}, auto, or null.") from error

    def _languages(self, passages: Sequence[str]) -> tuple[str | None, str | None]:
        """Return the languages of the stemmer and of the stop words, and log those that were detected."""
        if "auto" not in (self.stemmer, self.stopwords):
            return self.stemmer, self.stopwords
        language = corpus_language(passages)
        code = language.code or "en"
        stemmer = _STEMMERS.get(code) if self.stemmer == "auto" else self.stemmer
        stopwords = _STOPWORDS.get(code) if self.stopwords == "auto" else self.stopwords
        log.info(
            "BM25: %s; stemming: %s, stop words: %s.", _told(language), stemmer or "none", stopwords or "none"
        )
        return stemmer, stopwords


class _Tokens(Sequence["array[int]"]):
    """The numbers of each passage's words, four bytes each, which bm25s reads three times."""

    _READINGS = 3

    def __init__(self, passages: list[array[int]]) -> None:
        self._passages = passages
        self._bar: Bar | None = None

    def __len__(self) -> int:
        return len(self._passages)

    def __getitem__(self, at: Any) -> Any:
        return self._passages[at]

    def __iter__(self) -> Iterator[array[int]]:
        for at, numbers in enumerate(self._passages, start=1):
            yield numbers
            if self._bar is not None and at % _PASSAGES_PER_STEP == 0:
                self._bar.advance(_PASSAGES_PER_STEP)

    @contextmanager
    def counted(self, description: str) -> Iterator[None]:
        """Show a bar that counts the passages that are read while the block runs."""
        with progress(description, total=self._READINGS * len(self)) as self._bar:
            yield
        self._bar = None


def _warn_of_memory(chunks: Sequence[Chunk]) -> None:
    """Say it if the index is going to need more memory than there is."""
    sample = evenly(chunks)
    characters = sum(len(chunk.title) + len(chunk.text) for chunk in sample) / len(sample)
    warn_of_memory(
        BYTES_PER_CHARACTER * characters * len(chunks),
        f"The BM25 index of {len(chunks):,} passages",
        "if the system ends this process, give it more memory, or take fewer documents (dataset.limit=…)",
    )


def _told(language: CorpusLanguage) -> str:
    if language.code:
        return f"{language.share:.0%} of the text is in the language {language.code!r}"
    return "no language leads, or there is too little text to tell"


class Bm25Index:
    """Scores of words in passages; only passages that share a word with the query are hits."""

    def __init__(self, ids: Sequence[str], words: Any, model: Any) -> None:
        self._ids = ids
        self._words = words
        self._model = model

    @property
    def nbytes(self) -> int:
        """The size of the index in bytes; 0 if no passage has a word."""
        if self._model is None:
            return 0
        return sum(self._model.scores[name].nbytes for name in ("data", "indices", "indptr"))

    @property
    def ids(self) -> Sequence[str]:
        """The chunks' ids, in the order of the scores that ``normalised`` returns."""
        return self._ids

    def normalised(self, queries: Sequence[str]) -> Iterator[Vectors]:
        """Yield each query's scores of all chunks, divided by the most that a chunk could score.

        In Lucene's variant a term adds ``idf * tf / (tf + ...)``, which is less than its idf. The sum of the
        idfs of the query's terms is therefore an upper bound (the "theoretical maximum" of Bruch, Gai and
        Ingber, arXiv 2210.11934), and a score says which share of the query's words, by their rarity, a chunk
        contains: it is comparable between queries. A term that occurs in no chunk counts as the rarest of
        all, so that a long question of which the corpus knows few words scores low everywhere.

        Yields:
            Scores in [0, 1), float32, shape (chunks,), one array per query.
        """
        import numpy as np

        tokens = self._words.streaming_tokenize(list(queries), update_vocab=False, allow_empty=False)
        for query, numbers in zip(queries, tokens, strict=True):
            if not numbers:
                yield np.zeros(len(self._ids), dtype=np.float32)
                continue
            starts = self._model.scores["indptr"]
            with_term = [starts[number + 1] - starts[number] for number in numbers]
            with_term += [0] * (self._count_terms(query) - len(numbers))
            chunks = np.array(with_term)
            idf = np.log(1 + (len(self._ids) - chunks + 0.5) / (chunks + 0.5))
            scores: Vectors = self._model.get_scores_from_ids(numbers)
            yield scores / np.float32(idf.sum())

    def _count_terms(self, query: str) -> int:
        """Return how many terms a query has, stop words left out, whether or not a chunk has them."""
        return sum(term not in self._words.stopwords for term in search_terms(query.lower()))

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Return each query's ``k`` best chunks, the best first; equal scores are ordered by chunk id.

        Raises:
            RetrievalError: ``k`` is less than 1.
        """
        check_k(k)
        tokens = self._words.streaming_tokenize(list(queries), update_vocab=False, allow_empty=False)
        return [self._search(numbers, k) for numbers in tokens]

    def _search(self, numbers: list[int], k: int) -> list[Hit]:
        if not numbers:
            return []
        scores = self._model.get_scores_from_ids(numbers)
        best = best_columns(scores[None, :], k)[0]
        return [Hit(self._ids[row], float(scores[row])) for row in best if scores[row] > 0]
