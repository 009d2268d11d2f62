"""BM25: the word-matching baseline that every embedding model has to beat."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embexp.data.records import Chunk
from embexp.errors import ConfigError
from embexp.retrieval.index import Hit, best_columns, check_k, empty_corpus

if TYPE_CHECKING:
    from embexp.models.encoder import Embedder

StemmerName = Literal[
    "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french",
    "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali",
    "norwegian", "porter", "portuguese", "romanian", "russian", "serbian", "spanish", "swedish", "tamil",
    "turkish", "yiddish",
]  # fmt: skip
StopwordsName = Literal[
    "english", "english_plus", "german", "dutch", "french", "spanish", "portuguese", "italian", "russian",
    "swedish", "norwegian", "chinese", "turkish", "korean", "danish",
]  # fmt: skip
WORD = r"\w+"


@dataclass(frozen=True, kw_only=True)
class Bm25Retriever:
    """Ranks passages by the query's words in them (Robertson and Zaragoza 2009; bm25s' Lucene variant).

    Args:
        k1: How soon more occurrences of a word stop counting; 0 or more.
        b: How much long passages are marked down, from 0 (not) to 1 (fully).
        stemmer: The language whose word endings are cut off ("running" meets "run"), or None.
        stopwords: The language whose commonest words are left out, or None.
    """

    k1: float = 1.5
    b: float = 0.75
    stemmer: StemmerName | None = "english"
    stopwords: StopwordsName | None = "english"

    def __post_init__(self) -> None:
        if self.k1 < 0:
            raise ConfigError(f"retriever.k1 is {self.k1}: give 0 or more, usually 0.9 to 2.")
        if not 0 <= self.b <= 1:
            raise ConfigError(f"retriever.b is {self.b}: give a number from 0 to 1, usually 0.75.")

    def index(
        self,
        chunks: Iterable[Chunk],
        embedder: Embedder | None = None,  # noqa: ARG002 - the protocol hands it to every retriever
        *,
        path: Path,
    ) -> Bm25Index:
        """Index the chunks' words in memory; the embedder is not used and nothing is written.

        Raises:
            ConfigError: There is no such stemmer or list of stopwords.
            RetrievalError: There are no chunks.
        """
        import bm25s

        words = self._words()
        # In the order of their ids, passages of equal score are in order already.
        ordered = sorted(chunks, key=lambda chunk: chunk.id)
        if not ordered:
            raise empty_corpus(path)
        passages = (chunk.passage for chunk in ordered)
        tokens = list(words.streaming_tokenize(passages, update_vocab=True, allow_empty=False))
        # bm25s sets its own logger to DEBUG, past the level that the program asked for.
        logging.getLogger("bm25s").setLevel(logging.WARNING)
        model = bm25s.BM25(k1=self.k1, b=self.b, method="lucene", backend="numpy")
        vocabulary = words.get_vocab_dict()
        if vocabulary:
            model.index((tokens, vocabulary), create_empty_token=False, show_progress=False)
        return Bm25Index([chunk.id for chunk in ordered], words, model)

    def _words(self) -> Any:
        import Stemmer
        from bm25s.tokenization import Tokenizer

        try:
            stemmer = Stemmer.Stemmer(self.stemmer) if self.stemmer else None
        except KeyError as error:
            known = ", ".join(Stemmer.algorithms())
            raise ConfigError(
                f"retriever.stemmer is {self.stemmer}: give one of {known}, or null."
            ) from error
        try:
            return Tokenizer(splitter=WORD, stopwords=self.stopwords, stemmer=stemmer)
        except ValueError as error:
            raise ConfigError(f"retriever.stopwords is {self.stopwords}: {error}, or null.") from error


class Bm25Index:
    """Scores of words in passages; only a passage that shares a word with the query is found."""

    def __init__(self, ids: Sequence[str], words: Any, model: Any) -> None:
        self._ids = ids
        self._words = words
        self._model = model

    @property
    def nbytes(self) -> int:
        """The bytes that the scores of words in passages take; 0 where no passage has a word."""
        parts = getattr(self._model, "scores", {})
        return sum(parts[name].nbytes for name in ("data", "indices", "indptr") if name in parts)

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
