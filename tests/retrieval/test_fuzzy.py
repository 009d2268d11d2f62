"""Words that are spelled like those of passages: in another script, or with a typing error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embexp.data.records import Chunk
from embexp.retrieval.bm25 import Bm25Retriever
from embexp.retrieval.fuzzy import FuzzyTerms
from embexp.retrieval.translations import learn_translations

Make = Callable[..., list[Chunk]]


def test_a_term_stands_for_a_word_the_more_alike_their_spellings_are() -> None:
    found = FuzzyTerms(["protocol", "protein", "client", "proton"]).like("протокола")

    assert list(found) == ["protocol", "proton"]
    assert 0.2 < found["proton"] < 0.5 < 0.8 < found["protocol"] < 1


def test_the_same_spelling_stands_for_it_wholly() -> None:
    assert FuzzyTerms(["protocol", "protokoll"]).like("протокол") == {"protocol": 1.0, "protokoll": 1.0}


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("protocl", ["protocol"]),  # a letter is missing
        ("protocool", ["protocol"]),
        ("protocul", ["protocol"]),
        ("protocolls", []),  # two letters too many: another word, for all that the index knows
        ("protokoll", ["protocol"]),  # it sounds the same
        ("lodge", []),  # "lodger" in fewer letters than a word needs
        ("porto", []),
    ],
)
def test_words_of_one_script_may_differ_by_one_letter(word: str, found: list[str]) -> None:
    assert list(FuzzyTerms(["protocol", "logger", "port"]).like(word)) == found


@pytest.mark.parametrize("word", ["ip4", "abc", "协议", "プロトコル", "", "🙂"])
def test_words_that_cannot_tell_are_like_nothing(word: str) -> None:
    assert FuzzyTerms(["ip44", "abcd", "协议书", "プロトコール", "protocol"]).like(word) == {}


def test_at_most_eight_spellings_stand_for_a_word() -> None:
    terms = [f"protocol{end}" for end in "abdefghikmn"]

    assert len(FuzzyTerms(terms).like("протокол")) == 8


def test_a_question_in_another_script_finds_loanwords(chunks: Make, tmp_path: Path) -> None:
    corpus = chunks("the client of a protocol", "a text editor", "a server")
    index = Bm25Retriever().index(corpus, path=tmp_path)

    hits = index.search(["клиент протокола", "текстовый", "сервер", "холодильник"], k=3)

    assert [[hit.id for hit in each] for each in hits] == [["0"], ["1"], ["2"], []]


def test_a_similar_word_counts_less_than_the_word_itself(chunks: Make, tmp_path: Path) -> None:
    corpus = chunks("client", "editor", "server")
    index = Bm25Retriever().index(corpus, path=tmp_path)

    exact, similar = (max(scores) for scores in index.normalised(["client", "клиентский"]))

    assert 0 < similar < exact < 1


def test_a_word_that_a_passage_has_is_taken_at_its_word(chunks: Make, tmp_path: Path) -> None:
    corpus = chunks("client", "clients' klient", "editor")
    with_similar, without = (
        Bm25Retriever(fuzzy=similar).index(corpus, path=tmp_path) for similar in (True, False)
    )

    assert with_similar.search(["klient"], k=3) == without.search(["klient"], k=3)


def test_it_can_be_turned_off(chunks: Make, tmp_path: Path) -> None:
    index = Bm25Retriever(fuzzy=False).index(chunks("a client", "editor"), path=tmp_path)

    assert index.search(["клиент"], k=3) == [[]]


def test_spellings_count_beside_translations(chunks: Make, tmp_path: Path) -> None:
    animals = {"Hund": "dog", "Katze": "cat", "Protokoll": "minutes", "Vogel": "bird", "Kuh": "cow"}
    pairs = [
        (f"Was ist {german}, wenn es schläft? {number}", f"What the {english} is: {number}")
        for number in range(20)
        for german, english in animals.items()
    ]
    file = tmp_path / "translations.json"
    learn_translations(pairs).write(file)
    corpus = chunks("a protocol", "the dog", "the minutes", "a client", "a protocol of minutes")
    scores = {
        similar: {
            hit.id: hit.score
            for hit in Bm25Retriever(translations=str(file), fuzzy=similar)
            .index(corpus, path=tmp_path)
            .search(["Protokoll"], k=5)[0]
        }
        for similar in (True, False)
    }

    assert scores[False].keys() == {"2", "4"}
    assert scores[True].keys() == {"0", "2", "4"}
    assert scores[True]["2"] == scores[False]["2"]
    assert scores[True]["4"] > scores[False]["4"]


def test_scores_stay_shares_of_the_question(chunks: Make, tmp_path: Path) -> None:
    index = Bm25Retriever().index(chunks("client client client", "editor"), path=tmp_path)

    (scores,) = index.normalised(["клиент клиент редактор"])

    assert np.all((scores >= 0) & (scores < 1))
