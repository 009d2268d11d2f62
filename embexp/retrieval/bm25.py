"""BM25: the lexical baseline that an embedding model has to beat."""

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Interval

from embexp.data.languages import evenly
from embexp.data.records import Chunk
from embexp.data.words import search_terms
from embexp.errors import ConfigError
from embexp.memory import warn_of_memory
from embexp.progress import Bar, progress, track
from embexp.ranges import Share, check_ranges
from embexp.retrieval.analyzer import Analyzer, StemmerName, StopwordsName, analyzer_for
from embexp.retrieval.fuzzy import FuzzyTerms
from embexp.retrieval.index import Hit, best_columns, check_k, empty_corpus
from embexp.retrieval.translations import TranslatedTerm, Translations
from embexp.storage.files import sha256_of, sha256_of_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from embexp.models.encoder import Embedder
    from embexp.models.vector_files import Vectors

log = logging.getLogger(__name__)

BYTES_PER_CHARACTER = 6
"""Of a passage, that building the index takes: about 36 for a word and its place."""
MATCH_CACHE_BYTES = 64_000_000
"""The size of the cache of how far chunks match translated terms, which further questions use."""
_PASSAGES_PER_STEP = 100


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
        fuzzy: Whether a word that no passage has matches words that are spelled or sound like it, in any
            script (``fuzzy.py``): loanwords of another language, typing errors.
        translations: A file of word translations, as a run learns them from its pairs; None for none. Then a
            word of a query also matches passages whose words stand for it (``translations.py``).

    Raises:
        ConfigError: A number is out of range.
        DataError: The file of translations cannot be read.
    """

    approximate: ClassVar[bool] = False
    vectors: ClassVar[bool] = False
    k1: Annotated[float, Interval(ge=0, le=1_000)] = 0.9
    b: Share = 0.4
    stemmer: StemmerName | Literal["auto"] | None = "auto"
    stopwords: StopwordsName | Literal["auto"] | None = "auto"
    fuzzy: bool = True
    translations: str | None = None

    def __post_init__(self) -> None:
        check_ranges(self, "retriever")
        self._translations()  # a file that cannot be read ends a run now and not after its training

    def changed_settings(self) -> dict[str, str | float | bool | None]:
        """Return the settings that are not the defaults, by their names."""
        return {
            each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default
        }

    def fingerprint(self) -> str:
        """Return a digest of the settings, and of what the file of translations holds."""
        file = sha256_of_file(Path(self.translations)) if self.translations else None
        return sha256_of({**asdict(self), "translations": file})

    def _translations(self) -> Translations | None:
        return Translations.read(Path(self.translations)) if self.translations else None

    def index(
        self,
        chunks: Iterable[Chunk],
        embedder: Embedder | None = None,  # noqa: ARG002 - part of the Retriever protocol
        *,
        path: Path,
    ) -> Bm25Index:
        """Index the chunks' words in memory; the embedder is ignored and nothing is written.

        Raises:
            ConfigError: There is no such stemmer or list of stopwords, or translations need another one.
            DataError: The file of translations cannot be read.
            RetrievalError: There are no chunks.
        """
        import bm25s

        # With passages in the order of their ids, a stable sort by score breaks ties by id.
        ordered = sorted(chunks, key=lambda chunk: chunk.id)
        if not ordered:
            raise empty_corpus(path)
        translations = self._translations()
        analyzer = self._analyzer([chunk.passage for chunk in evenly(ordered)], translations)
        words = analyzer.tokenizer()
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
        lexicon = _Lexicon(analyzer, vocabulary, fuzzy=self.fuzzy)
        ids = [chunk.id for chunk in ordered]
        if translations is None or model is None:
            return Bm25Index(ids, lexicon, model)
        return TranslatedIndex(ids, lexicon, model, translations)

    def _analyzer(self, passages: Sequence[str], translations: Translations | None) -> Analyzer:
        """Return the analyzer that the settings ask for, which is that of the translations if there are any.

        Raises:
            ConfigError: The settings ask for another one than the translations were learned with.
        """
        if translations is None:
            return analyzer_for(passages, stemmer=self.stemmer, stopwords=self.stopwords)
        for name in ("stemmer", "stopwords"):
            asked, learned = getattr(self, name), getattr(translations.passages, name)
            if asked not in ("auto", learned):
                raise ConfigError(
                    f"retriever.{name} is {asked or 'null'}, but {self.translations} was learned with "
                    f"{learned or 'null'}: leave one of the two out."
                )
        return translations.passages


class _Lexicon:
    """The terms of all passages by number, and which of them stand for a word that none has."""

    def __init__(self, analyzer: Analyzer, numbers: Mapping[str, int], *, fuzzy: bool) -> None:
        self.numbers = numbers
        self._analyzer = analyzer
        self._fuzzy = fuzzy

    def terms(self, query: str) -> list[str]:
        """Return the terms of a query in its order, whether or not a passage has them."""
        return self._analyzer.terms(query)

    def fuzzy_matches(self, term: str) -> dict[int, float]:
        """Return the numbers of the terms that are spelled like one that no passage has, each in (0, 1]."""
        if not self._fuzzy:
            return {}
        return {self.numbers[other]: match for other, match in self._fuzzy_terms.like(term).items()}

    @cached_property
    def _fuzzy_terms(self) -> FuzzyTerms:
        return FuzzyTerms(self.numbers)


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


class Bm25Index:
    """Scores of words in passages; only passages that share a word with the query are hits."""

    def __init__(self, ids: Sequence[str], lexicon: _Lexicon, model: Any) -> None:
        self._ids = ids
        self._lexicon = lexicon
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
        for query in queries:
            scores, most = self._scores(query)
            yield scores / most if most else scores

    def search(self, queries: Sequence[str], *, k: int) -> list[list[Hit]]:
        """Return each query's ``k`` best chunks, the best first; equal scores are ordered by chunk id.

        Raises:
            RetrievalError: ``k`` is less than 1.
        """
        check_k(k)
        return [self._best(self._scores(query)[0], k) for query in queries]

    def _best(self, scores: Vectors, k: int) -> list[Hit]:
        best = best_columns(scores[None, :], k)[0]
        return [Hit(self._ids[row], float(scores[row])) for row in best if scores[row] > 0]

    def _scores(self, query: str) -> tuple[Vectors, np.float32]:
        """Return a query's scores of all chunks, shape (chunks,), and the most that a chunk could score."""
        import numpy as np

        terms = self._lexicon.terms(query)
        numbers = [self._lexicon.numbers[term] for term in terms if term in self._lexicon.numbers]
        unknown = [term for term in terms if term not in self._lexicon.numbers]
        if numbers:
            scores: Vectors = self._model.get_scores_from_ids(numbers)
        else:
            scores = np.zeros(len(self._ids), dtype=np.float32)
        for similar in filter(None, map(self._lexicon.fuzzy_matches, unknown)):
            scores += np.float32(self._rarest) * self._fuzzy_matches(similar)
        rarities = [*map(self._rarity, numbers), *[self._rarest] * len(unknown)]
        return scores, np.float32(sum(rarities))

    def _fuzzy_matches(self, similar: Mapping[int, float]) -> Vectors:
        """Return how far each chunk matches the best of some terms, in [0, 1), given their own matches."""
        import numpy as np

        matches = np.zeros(len(self._ids), dtype=np.float32)
        for number, match in similar.items():
            rows, exact = self._exact_matches(number)
            matches[rows] = np.maximum(matches[rows], np.float32(match) * exact)
        return matches

    def _exact_matches(self, number: int) -> tuple[NDArray[np.int32], Vectors]:
        """Return the rows of the chunks that have a term, and how far each matches it, in (0, 1)."""
        import numpy as np

        rows, scores = self._postings(number)
        return rows, scores / np.float32(self._rarity(number))

    def _postings(self, number: int) -> tuple[NDArray[np.int32], Vectors]:
        """Return the rows of the chunks that have a term, and their scores for it."""
        scores = self._model.scores
        span = slice(*scores["indptr"][number : number + 2])
        return scores["indices"][span], scores["data"][span]

    def _rarity(self, number: int) -> float:
        """Return a term's inverse document frequency, of which no chunk scores more."""
        starts = self._model.scores["indptr"]
        return self._idf(int(starts[number + 1] - starts[number]))

    @property
    def _rarest(self) -> float:
        """The inverse document frequency of a term that no chunk has."""
        return self._idf(0)

    def _idf(self, with_term: int) -> float:
        return math.log(1 + (len(self._ids) - with_term + 0.5) / (with_term + 0.5))


class TranslatedIndex(Bm25Index):
    """Scores of words in passages, and of other words that stand for them.

    A term adds up to its rarity, for a chunk that has it or a similar one, as in BM25, or whose terms stand
    for it, or both: ``rarity * (1 - (1 - tf / (tf + ...)) * (1 - match))``. Its rarity is the lower one of
    those among chunks and among the training questions, so that words that most questions have count for
    little.
    """

    def __init__(self, ids: Sequence[str], lexicon: _Lexicon, model: Any, translations: Translations) -> None:
        super().__init__(ids, lexicon, model)
        self._translations = translations
        self._numbers = lexicon.numbers
        entries = max(MATCH_CACHE_BYTES // (4 * len(ids)), 1)
        self._translated = lru_cache(maxsize=entries)(self._translated_matches)

    def _scores(self, query: str) -> tuple[Vectors, np.float32]:
        import numpy as np

        scores, most = np.zeros(len(self._ids), dtype=np.float32), 0.0
        for word in search_terms(query.lower()):
            asked = self._translations.questions.term(word)
            if asked is None:
                continue
            translated = self._translations.terms.get(asked)
            number = self._numbers.get(self._translations.passages.term(word) or "")
            rarity = self._rarest if number is None else self._rarity(number)
            if translated is not None:
                rarity = min(rarity, translated.rarity * self._rarest)
            scores += np.float32(rarity) * self._matches(number, asked)
            most += rarity
        return scores, np.float32(most)

    def _matches(self, number: int | None, asked: str) -> Vectors:
        """Return how far each chunk matches a term, in [0, 1), given its number among chunks, if any."""
        import numpy as np

        if asked in self._translations.terms:
            matches = self._translated(asked).copy()
        else:
            matches = np.zeros(len(self._ids), dtype=np.float32)
        if number is None:
            if similar := self._lexicon.fuzzy_matches(asked):
                matches = 1 - (1 - self._fuzzy_matches(similar)) * (1 - matches)
            return matches
        rows, exact = self._exact_matches(number)
        matches[rows] = 1 - (1 - exact) * (1 - matches[rows])
        return matches

    def _translated_matches(self, asked: str) -> Vectors:
        """Return how far the terms of each chunk stand for a term of a question, in [0, 1)."""
        translated = self._translations.terms[asked]
        return translated.match(self._likelihoods(translated))

    def _likelihoods(self, translated: TranslatedTerm) -> Vectors:
        """Return the mean probability, over each chunk's distinct terms, that they stand for a term."""
        import numpy as np

        known = {self._numbers[term]: p for term, p in translated.passages.items() if term in self._numbers}
        if not known:
            return np.zeros(len(self._ids), dtype=np.float32)
        rows = [self._postings(number)[0] for number in known]
        weights = np.repeat(list(known.values()), [len(each) for each in rows])
        total = np.bincount(np.concatenate(rows), weights, minlength=len(self._ids))
        return total.astype(np.float32) / self._distinct_terms

    @cached_property
    def _distinct_terms(self) -> Vectors:
        """The number of different terms of each chunk, at least 1; shape (chunks,)."""
        import numpy as np

        counts = np.bincount(self._model.scores["indices"], minlength=len(self._ids))
        return np.maximum(counts, 1).astype(np.float32)
