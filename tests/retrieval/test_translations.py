"""Word translations, and BM25 that uses them."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embexp.data.records import Chunk
from embexp.errors import ConfigError, DataError
from embexp.retrieval.analyzer import Analyzer
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.translations import TranslatedTerm, Translations, learn_translations

Make = Callable[..., list[Chunk]]
PLAIN = Analyzer(stemmer=None, stopwords=None)
ENGLISH = ("harbour", "bakery", "bicycle", "piano", "garden", "kettle", "lantern", "mountain", "river")
GERMAN = ("hafen", "bäckerei", "fahrrad", "klavier", "garten", "kessel", "laterne", "berg", "fluss")


def pairs(count: int = 200) -> list[tuple[str, str]]:
    """Questions of two German words about passages of the same two in English, and one in every passage."""
    draw = random.Random(0)
    drawn = [draw.sample(range(len(ENGLISH)), 2) for _ in range(count)]
    return [
        (f"{GERMAN[a]} {GERMAN[b]} {at}", f"everything {ENGLISH[b]} {ENGLISH[a]} {at + 10_000}")
        for at, (a, b) in enumerate(drawn)
    ]


def write(terms: dict[str, TranslatedTerm], folder: Path, *, passages: Analyzer = PLAIN) -> str:
    path = folder / "translations.json"
    Translations(PLAIN, passages, terms).write(path)
    return str(path)


def test_words_that_occur_together_are_learned() -> None:
    learned = learn_translations(pairs())

    for german, english in zip(GERMAN, ENGLISH, strict=True):
        term = learned.terms[learned.questions.terms(german)[0]]
        (expected,) = learned.passages.terms(english)
        assert next(iter(term.passages)) == expected, "the most probable first"
        assert term.passages[expected] > 0.4
        assert "everyth" not in term.passages, "it stands in every passage"


def test_rarity_and_share_are_those_among_the_questions() -> None:
    given = pairs(200)
    asked = sum("hafen" in question for question, _ in given)

    learned = learn_translations(given)
    term = learned.terms[learned.questions.terms("hafen")[0]]

    assert term.share == pytest.approx(asked / 600, rel=1e-3)
    rarest = math.log(1 + 200.5 / 0.5)
    assert term.rarity == pytest.approx(math.log(1 + (200 - asked + 0.5) / (asked + 0.5)) / rarest, rel=1e-3)


def test_no_more_pairs_are_read_than_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embexp.retrieval.translations.MOST_PAIRS", 150)
    given = pairs(400)

    learned = learn_translations(given)

    assert learned.terms.keys() < {learned.questions.terms(word)[0] for q, _ in given for word in q.split()}
    assert sum(term.isdigit() for term in learned.terms) == 150, "one number in each question"


def test_too_few_pairs_teach_nothing() -> None:
    with pytest.raises(DataError, match=r"from 99 pairs: give at least 100"):
        learn_translations(pairs(99))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    learned = learn_translations(pairs())
    learned.write(tmp_path / "translations.json")

    assert Translations.read(tmp_path / "translations.json") == learned


def test_words_of_every_question_count_for_something(tmp_path: Path) -> None:
    given = [("hafen", f"harbour {at}") for at in range(4_000)]
    learned = learn_translations(given)
    learned.write(tmp_path / "translations.json")

    assert Translations.read(tmp_path / "translations.json") == learned
    assert all(term.rarity > 0 and term.share > 0 for term in learned.terms.values())


@pytest.mark.parametrize("question", ["", "…", "the of"])
def test_questions_without_words_teach_nothing(question: str, tmp_path: Path) -> None:
    learned = learn_translations((question, f"The harbour number {at}") for at in range(120))
    learned.write(tmp_path / "translations.json")
    index = Bm25Retriever(translations=str(tmp_path / "translations.json")).index(
        [Chunk(id="a", document_id="a", text="harbour")], path=tmp_path
    )

    assert not learned.terms
    assert [[hit.id for hit in hits] for hits in index.search([question, "harbour"], k=1)] == [[], ["a"]]


def test_passages_are_analysed_as_bm25_is_configured() -> None:
    pairs = [(f"which harbour {at}", f"The harbours are {at} miles away") for at in range(120)]
    learned = learn_translations(pairs, stemmer=None, stopwords=None)

    assert learned.passages == Analyzer(stemmer=None, stopwords=None)
    assert learned.questions == Analyzer(stemmer="english", stopwords="english")


def terms(term: str) -> str:
    """A file with one term."""
    analyzer = '{"stemmer": null, "stopwords": null}'
    return f'{{"questions": {analyzer}, "passages": {analyzer}, "terms": {{"a": {term}}}}}'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        ("", "Invalid JSON"),
        ("\x00", "Invalid JSON"),
        ("[]", "Input should be"),
        ('{"terms": {}}', "questions: Field required"),
        (terms('{"rarity": 1, "share": 0, "passages": {}}'), "terms.a.share: Input should be greater"),
        (terms('{"rarity": NaN, "share": 1, "passages": {}}'), "terms.a.rarity: Input should be"),
        (terms('{"rarity": 1, "share": 1, "passages": {"b": 2}}'), "terms.a.passages.b: Input"),
    ],
)
def test_a_file_that_holds_something_else_is_named(content: str | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "translations.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(
        DataError, match=r"translations\.json cannot be read .*: name the translations"
    ) as error:
        Bm25Retriever(translations=str(path))

    assert problem in str(error.value)


def test_a_term_matches_as_its_log_odds_say() -> None:
    term = TranslatedTerm(rarity=0.5, share=0.01, passages={})

    matches = term.match(np.array([0, 0.01, 1], dtype=np.float32))

    assert matches == pytest.approx([0, math.log(10) / math.log(901), 1])


def test_scores_follow_the_formula(chunks: Make, tmp_path: Path) -> None:
    # "hafen" stands for harbour with .6 and for dock with .2, and stands itself in the second passage.
    term = TranslatedTerm(rarity=0.25, share=0.05, passages={"harbour": 0.6, "dock": 0.2, "unknown": 0.9})
    corpus = chunks("harbour dock harbour", "hafen dock", "piano")
    file = write({"hafen": term}, tmp_path)
    index = Bm25Retriever(k1=1.2, b=0.5, stemmer=None, stopwords=None, translations=file).index(
        corpus, path=tmp_path
    )

    (scores,) = index.normalised(["Hafen oboe"])

    rarest = math.log(1 + 3.5 / 0.5)
    rarity = min(math.log(1 + 2.5 / 1.5), 0.25 * rarest)
    frequency = 1 / (1 + 1.2 * (1 - 0.5 + 0.5 * 2 / 2))
    trust = 9 / 0.05
    first, second = (math.log1p(trust * p) / math.log1p(trust) for p in ((0.6 + 0.2) / 2, 0.2 / 2))
    expected = [rarity * first, rarity * (1 - (1 - frequency) * (1 - second)), 0]
    assert scores == pytest.approx(np.array(expected) / (rarity + rarest), rel=1e-5)
    assert [hit.id for hit in index.search(["hafen"], k=3)[0]] == ["0", "1"]


def test_words_without_translations_score_as_in_plain_bm25(chunks: Make, tmp_path: Path) -> None:
    corpus = chunks("the harbour of the north", "the running dock", "piano harbour harbour")
    queries = ["harbour", "the docks run", "piano of nothing harbour harbour", "", "the"]
    english = Analyzer("english", "english")
    path = tmp_path / "translations.json"
    Translations(english, english, {}).write(path)
    plain = Bm25Retriever(stemmer="english", stopwords="english").index(corpus, path=tmp_path)
    translated = Bm25Retriever(translations=str(path)).index(corpus, path=tmp_path)

    expected = list(plain.normalised(queries))

    assert np.array(list(translated.normalised(queries))) == pytest.approx(np.array(expected), rel=1e-5)
    assert [[hit.id for hit in hits] for hits in translated.search(queries, k=3)] == [
        [hit.id for hit in hits] for hits in plain.search(queries, k=3)
    ]


def test_a_stop_word_of_questions_asks_for_nothing(chunks: Make, tmp_path: Path) -> None:
    path = tmp_path / "translations.json"
    Translations(Analyzer(None, "german"), PLAIN, {}).write(path)
    index = Bm25Retriever(translations=str(path)).index(chunks("und piano", "harbour"), path=tmp_path)

    assert index.search(["und"], k=2) == [[]]
    (scores,) = index.normalised(["und und"])
    assert not scores.any()


def test_passages_are_read_as_the_translations_were_learned(
    chunks: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    term = TranslatedTerm(rarity=0.5, share=0.01, passages={"hous": 0.9})
    file = write({"häuser": term}, tmp_path, passages=Analyzer("english", None))
    with caplog.at_level(logging.INFO, logger="embexp"):
        index = Bm25Retriever(translations=file).index(chunks("houses", "trees"), path=tmp_path)

    assert [hit.id for hit in index.search(["häuser"], k=2)[0]] == ["0"]
    assert "of the text is in the language" not in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stemmer": "german"}, r"retriever\.stemmer is german, but .*\.json was learned with english"),
        ({"stopwords": None}, r"retriever\.stopwords is null, but .*\.json was learned with english"),
    ],
)
def test_another_analyzer_than_the_translations_is_refused(
    options: dict[str, str | None], said: str, chunks: Make, tmp_path: Path
) -> None:
    file = write({}, tmp_path, passages=Analyzer("english", "english"))

    with pytest.raises(ConfigError, match=said):
        Bm25Retriever(translations=file, **options).index(chunks("houses"), path=tmp_path)  # type: ignore[arg-type]


def test_passages_without_any_word_have_no_hits(chunks: Make, tmp_path: Path) -> None:
    file = write({"a": TranslatedTerm(0.5, 0.01, {"b": 0.9})}, tmp_path)

    assert Bm25Retriever(translations=file).index(chunks("…", "!"), path=tmp_path).search(["a"], k=2) == [[]]
