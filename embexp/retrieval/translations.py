"""Word translations: which terms of passages stand for a term of a question, learned from pairs of both.

BM25 with translations finds a passage that answers in other words than the question's, or in another
language: a lexical translation model (Berger and Lafferty 1999, "Information retrieval as statistical
translation") beside exact matches.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from embexp.data.sampling import sample
from embexp.data.word_alignment import align
from embexp.errors import DataError
from embexp.ranges import ShareAboveZero
from embexp.retrieval.analyzer import Analyzer, StemmerName, StopwordsName, analyzer_for
from embexp.storage.files import write_json

if TYPE_CHECKING:
    from pydantic import ValidationError

    from embexp.models.vector_files import Vectors

log = logging.getLogger(__name__)

FEWEST_PAIRS = 100
"""Fewer pairs align too few terms."""
MOST_PAIRS = 5_000
"""More pairs would take memory and time, and align few more terms."""
QUESTION_TERMS = 20
PASSAGE_TERMS = 100
"""The first distinct terms of a question and of a passage that are aligned: some 500 MB at the most."""
LEAST_PASSAGES = 2
"""Terms in fewer passages could stand for anything in their only question."""
MOST_COMMON = 0.5
"""Terms in more than this share of the passages stand for nothing in particular."""
LEAST_PROBABILITY = 0.03
"""Less probable translations are left out: they make a search slow and its ranking no better."""
TRUST = 9.0
"""How much more a term of a question is expected to come from its passage than from questions in general.

The mixture of the query likelihood model, with 0.9 for the passage and 0.1 for the background.
"""


@dataclass(frozen=True, slots=True)
class TranslatedTerm:
    """A term of questions.

    Attributes:
        rarity: Its inverse document frequency among the training questions, as a share of that of a term
            which none of them has; in (0, 1).
        share: Its share of all terms of the training questions.
        passages: Term of passages -> the probability that a question asks for it by this term.
    """

    rarity: ShareAboveZero
    share: ShareAboveZero
    passages: Mapping[str, ShareAboveZero]

    def match(self, likelihoods: Vectors) -> Vectors:
        """Return how far passages match the term, from 0 to 1, as its log-odds to come from each of them.

        ``log(1 + 9 p / share) / log(1 + 9 / share)``, with the likelihood ``p`` of the term given a passage:
        0 for a passage that is never asked for by it, 1 for one whose every term is.

        Args:
            likelihoods: The mean of the probabilities above over a passage's terms; shape (passages,).
        """
        import numpy as np

        trust = TRUST / self.share
        matches: Vectors = np.log1p(likelihoods * np.float32(trust)) / np.float32(math.log1p(trust))
        return matches


@dataclass(frozen=True)
class Translations:
    """What the terms of questions stand for.

    Attributes:
        questions: How questions become terms.
        passages: How passages do.
        terms: Term of questions -> its translations.
    """

    questions: Analyzer
    passages: Analyzer
    terms: Mapping[str, TranslatedTerm]

    def write(self, path: Path) -> None:
        """Write all of it as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Translations:
        """Read what ``write`` wrote.

        Raises:
            DataError: There is no such file, or it holds something else.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(Translations).validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            problem = error.strerror if isinstance(error, OSError) else _first_problem(error)
            raise DataError(
                f"The word translations {path} cannot be read ({problem}): name the translations.json of a "
                "run, or leave the option out."
            ) from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def learn_translations(
    pairs: Iterable[tuple[str, str]],
    *,
    stemmer: StemmerName | Literal["auto"] | None = "auto",
    stopwords: StopwordsName | Literal["auto"] | None = "auto",
) -> Translations:
    """Learn translations from questions and the passages that answer them, in seconds.

    A pair's question and passage may be in different languages. The same pairs give the same translations.

    Args:
        pairs: (question, passage), each once; of more than 5,000, a sample of as many is used.
        stemmer: That of the passages, as for ``Bm25Retriever``.
        stopwords: Those of the passages, likewise.

    Raises:
        DataError: There are fewer than 100 pairs.
    """
    used = list(sample(pairs, MOST_PAIRS, key="\0".join))
    if len(used) < FEWEST_PAIRS:
        raise DataError(
            f"Word translations were to be learned from {len(used)} pairs: give at least {FEWEST_PAIRS}."
        )
    questions, passages = zip(*used, strict=True)
    asked = analyzer_for(questions, what="Questions")
    answering = analyzer_for(passages, stemmer=stemmer, stopwords=stopwords, what="Passages")
    question_terms = [asked.terms(question) for question in questions]
    passage_terms = [list(dict.fromkeys(answering.terms(passage)))[:PASSAGE_TERMS] for passage in passages]
    found = _probabilities(question_terms, _distinctive(passage_terms))
    frequency = Counter(term for terms in question_terms for term in set(terms))
    occurrences = Counter(term for terms in question_terms for term in terms)
    rarest, total = _rarity(0, len(used)), occurrences.total()
    terms = {
        term: TranslatedTerm(
            rarity=_short(_rarity(frequency[term], len(used)) / rarest),
            share=_short(count / total),
            passages=found.get(term, {}),
        )
        for term, count in occurrences.items()
    }
    log.info("Learned what %s terms of %s questions stand for in passages.", *(len(found), len(used)))
    return Translations(asked, answering, terms)


def _distinctive(passages: Sequence[list[str]]) -> list[list[str]]:
    """Leave out the terms that a single passage has, and those that most have."""
    frequency = Counter(term for passage in passages for term in passage)
    most = MOST_COMMON * len(passages)
    return [[term for term in passage if LEAST_PASSAGES <= frequency[term] <= most] for passage in passages]


def _probabilities(
    questions: Sequence[list[str]], passages: Sequence[list[str]]
) -> dict[str, dict[str, float]]:
    """Return term of questions -> term of passages -> probability, the highest first, down to the least."""
    import numpy as np

    asked, answering = _numbers(questions), _numbers(passages)
    found = align(
        [[asked[term] for term in terms[:QUESTION_TERMS]] for terms in questions],
        [[answering[term] for term in terms] for terms in passages],
    )
    asked_terms, answering_terms = list(asked), list(answering)
    translations: dict[str, dict[str, float]] = defaultdict(dict)
    kept = np.flatnonzero(found.probabilities >= LEAST_PROBABILITY)
    for link in kept[np.argsort(-found.probabilities[kept], kind="stable")].tolist():
        question, passage = asked_terms[found.questions[link]], answering_terms[found.passages[link]]
        translations[question][passage] = _short(found.probabilities[link])
    return dict(translations)


def _numbers(texts: Sequence[list[str]]) -> dict[str, int]:
    """Number all terms in the order of their first occurrence."""
    terms = dict.fromkeys(term for text in texts for term in text)
    return {term: number for number, term in enumerate(terms)}


def _rarity(count: int, texts: int) -> float:
    """Return the inverse document frequency of Lucene's BM25."""
    return math.log(1 + (texts - count + 0.5) / (count + 0.5))


def _short(value: float) -> float:
    """Return a number with four significant digits, as people can read it; never 0."""
    return float(f"{value:.4g}")
