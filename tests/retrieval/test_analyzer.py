"""Texts become terms: languages, stop words, stems."""

from __future__ import annotations

import logging

import pytest

from embexp.errors import ConfigError
from embexp.retrieval.analyzer import Analyzer, analyzer_for

ENGLISH = ["The ships were anchored in the harbour while the crews were loading cargo."] * 20
RUSSIAN = ["Корабли стояли в гавани, пока команды грузили товары на борт судна."] * 20


@pytest.mark.parametrize(
    "text", ["The Ships, running!", "Корабли стояли", "吃什么", "", "x" * 5_000, "ＡＢＣ ﬁne"]
)
def test_terms_are_those_that_the_index_numbers(text: str) -> None:
    analyzer = Analyzer("english", "english")
    tokenizer = analyzer.tokenizer()
    (numbers,) = tokenizer.streaming_tokenize([text], update_vocab=True, allow_empty=False)
    names = {number: term for term, number in tokenizer.get_vocab_dict().items()}

    assert analyzer.terms(text) == [names[number] for number in numbers]


def test_a_word_is_stemmed_or_left_out() -> None:
    assert Analyzer("english", "english").terms("the Running ships") == ["run", "ship"]
    assert Analyzer(None, None).terms("the Running ships") == ["the", "running", "ships"]
    assert Analyzer("english", "english").term("the") is None


@pytest.mark.parametrize(("texts", "language"), [(ENGLISH, "english"), (RUSSIAN, "russian"), ([], "english")])
def test_the_language_of_most_texts_is_taken(
    texts: list[str], language: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="embexp"):
        found = analyzer_for(texts, what="Questions")

    assert found == Analyzer(language, language)
    assert f"stemming: {language}, stop words: {language}." in caplog.text
    assert caplog.messages[0].startswith("Questions: ")


def test_what_is_given_is_not_detected(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="embexp"):
        assert analyzer_for(RUSSIAN, stemmer=None, stopwords="german") == Analyzer(None, "german")

    assert not caplog.messages


@pytest.mark.parametrize(
    ("analyzer", "said"),
    [
        (Analyzer("klingon", None), r"retriever\.stemmer is klingon: give one of .*english.*, auto, or null"),
        (Analyzer(None, "klingon"), r"retriever\.stopwords is klingon: .*, auto, or null"),
    ],
)
def test_an_unknown_language_is_named(analyzer: Analyzer, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        analyzer.tokenizer()
