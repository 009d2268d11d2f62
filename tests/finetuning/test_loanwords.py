"""Questions in a script that a model has never read: their loanwords are read as they sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from embexp.data.records import Pair
from embexp.data.splitting import Splits
from embexp.finetuning.loanwords import (
    add_loanwords,
    phonetic_questions,
    respelled,
    transliterate_queries,
    unread_letters,
)
from embexp.finetuning.losses import QueryDistill
from embexp.finetuning.new_tokens import token_embeddings
from embexp.finetuning.parameter_efficient import QueryEncoder
from embexp.models.routes import encoder_of
from embexp.models.tiny import TinyModel

QUERIES = ["transfer protocol of a client", "server with ip4 cache", "an old map"]
ASKED = ["сервер кеширования", "протокол передачи", "клиент для сервера"]


def pairs(queries: list[str]) -> list[Pair]:
    return [
        Pair(id=f"p{at}", query=query, positive=f"{query} explained", document_id=f"d{at}")
        for at, query in enumerate(queries)
    ]


def splits(*, train: list[str] = QUERIES, dev: list[str] = QUERIES, test: list[str] = ASKED) -> Splits:
    return Splits(train=pairs(train), dev=pairs(dev), test=pairs(test))


def test_letters_of_the_script_that_questions_ask_in_sound_like_latin_ones(model: Any) -> None:
    letters = unread_letters(QueryEncoder(), model, splits())

    assert [letters[each] for each in "кКщ"] == ["k", "k", "sh"]
    assert letters["ь"] == ""
    assert not {"k", "λ", "1"} & set(letters)


@pytest.mark.parametrize(
    "changed",
    [
        {"test": QUERIES},  # the model reads what it is asked
        {"train": ASKED},  # tokens can be learned from the training queries
        {"test": ["如何重启服务器 μ", "数据库"]},  # no spaces between words
        {"test": ["클라이언트 프로토콜", "서버 데이터베이스"]},  # thousands of letters
        {"test": [], "dev": QUERIES},
        {"test": [], "dev": []},
    ],
)
def test_other_questions_need_no_letters(model: Any, changed: dict[str, list[str]]) -> None:
    assert unread_letters(QueryEncoder(), model, splits(**changed)) == {}


def test_dev_questions_tell_where_there_is_no_test(model: Any) -> None:
    assert unread_letters(QueryEncoder(), model, splits(test=[], dev=ASKED))["к"] == "k"


def test_a_model_of_two_encoders_is_left_as_it_is(model: Any) -> None:
    QueryEncoder().extend(model)

    assert unread_letters(QueryEncoder(), model, splits()) == {}


def test_half_of_the_queries_are_spelled_by_sound() -> None:
    queries = [f"transfer protocol of client {at} by phone" for at in range(200)]
    found = respelled(queries, seed=0)
    other = [query for query, before in zip(found, queries, strict=True) if query != before]

    assert 70 < len(other) < 130
    assert sum(" of " in f" {query} " for query in other) == len(other), "short words stay"
    words = {word for query in other for word in query.split()}
    assert {"protokol", "klient", "fon"} <= words
    assert words & {"protokola", "protokoli", "protokole", "protokolo", "protokolu"}
    assert any(len(query.split()) > 7 for query in other), "nonsense stands between words"
    assert found == respelled(queries, seed=0) != respelled(queries, seed=1)


@pytest.mark.parametrize("queries", [[], [""], ["a 12", "ip4 of"], ["如何"]])
def test_queries_without_words_to_borrow_stay(queries: list[str]) -> None:
    assert respelled(queries, seed=0) == queries


def test_questions_have_the_vectors_of_what_they_sound_like(model: Any, tmp_path: Path) -> None:
    letters = unread_letters(QueryEncoder(), model, splits())
    QueryEncoder().extend(model)
    plain = ["klient protokola", "a map, café"]
    before = model.encode_query(plain), model.encode_document(["клиент"])

    transliterate_queries(model, letters)

    for read in (model, reloaded(model, tmp_path)):
        np.testing.assert_allclose(read.encode_query(plain), before[0], atol=1e-6)
        for query in ("клиент протокола", "Клиент  ПРОТОКОЛА", "клиеннт протокола"):
            np.testing.assert_allclose(read.encode_query(query), before[0][0], atol=1e-6)
        np.testing.assert_allclose(read.encode_document(["клиент"]), before[1], atol=1e-6)


def test_dev_questions_are_asked_as_the_query_encoder_reads_them(model: Any) -> None:
    letters = unread_letters(QueryEncoder(), model, splits())
    asked = ["клиеннт протокола MCP", "the transfer protocol", "ip4"]

    found = phonetic_questions(asked, letters, seed=0)

    assert found[0] == "klient protokola MCP"
    assert "protokol" in found[1]
    assert found[2] == "ip4"


def with_loanwords(model: Any, passages: list[str], *, most: int = 100) -> tuple[dict[str, str], list[str]]:
    """Return the letters and the tokens that the model's query encoder gets for the passages' words."""
    letters = unread_letters(QueryEncoder(), model, splits())
    QueryEncoder().extend(model)
    given = [replace(pair, positive=text) for pair, text in zip(pairs(passages), passages, strict=True)]
    return letters, add_loanwords(model, letters, given, most=most)


def test_words_have_tokens_for_what_they_sound_like(model: Any, tmp_path: Path) -> None:
    plain = ["the protocol of clients", "old maps, café"]
    before = model.encode_query(plain)

    letters, tokens = with_loanwords(model, ["Protocol of a client", "the protocol, by phone", "a tiny map"])
    transliterate_queries(model, letters)

    assert tokens[0] == "protokol", "the most frequent word first"
    assert {"klient", "fon"} & set(tokens) == {"klient"}, "short sounds have none"
    for read in (model, reloaded(model, tmp_path)):
        np.testing.assert_allclose(read.encode_query(plain), before, atol=1e-6)
        query = encoder_of(read, "query")
        assert query.tokenizer.tokenize("Протоколы клиента")[0] == "protokol"
        assert "protokol" not in encoder_of(read, "document").tokenizer.get_vocab()


def test_a_loanword_starts_from_the_embeddings_of_its_word(model: Any) -> None:
    word = model.tokenizer("protocol", add_special_tokens=False)["input_ids"]
    known = token_embeddings(model).clone()

    _, tokens = with_loanwords(model, ["protocol"])

    encoder = encoder_of(model, "query")
    found = token_embeddings(encoder)[encoder.tokenizer.convert_tokens_to_ids("protokol")]
    assert tokens == ["protokol"]
    np.testing.assert_allclose(found, known[word].mean(dim=0), atol=1e-6)


def test_a_sound_that_a_more_frequent_word_begins_with_has_no_token(model: Any) -> None:
    frequent = ["kvorums"] * 3  # what "quorum" sounds like, and more
    own = len(model.tokenizer.tokenize("kvorums")[0])

    _, tokens = with_loanwords(model, [f"{word} {at}" for at, word in enumerate([*frequent, "quorum"])])

    assert own < len("kvorum"), "the tokenizer cuts the word before"
    assert tokens == []


@pytest.mark.parametrize(("passages", "most"), [(["протокол клиента"], 9), ([], 9), (["protocol"], 0)])
def test_no_tokens_without_words_to_borrow(model: Any, passages: list[str], most: int) -> None:
    assert with_loanwords(model, passages, most=most)[1] == []


def test_the_most_frequent_words_have_the_tokens(model: Any) -> None:
    assert with_loanwords(model, ["a protocol", "the client and the clients", "client"], most=1)[1] == [
        "klient"
    ]


def reloaded(model: Any, folder: Path) -> SentenceTransformer:
    model.save_pretrained(str(folder / "model"))
    return SentenceTransformer(str(folder / "model"), device="cpu")


def test_without_letters_the_tokenizer_stays(model: Any) -> None:
    QueryEncoder().extend(model)
    tokenizer = model[0].sub_modules["query"][0].tokenizer

    transliterate_queries(model, {})

    assert model[0].sub_modules["query"][0].tokenizer is tokenizer


@pytest.mark.parametrize("transliterate", [True, False])
def test_a_query_encoder_is_trained_to_read_loanwords(
    train: Any, transliterate: bool, tmp_path: Path
) -> None:
    given = splits(train=[f"{query} {at}" for query in QUERIES for at in range(20)])
    options = {"method": QueryEncoder(transliterate=transliterate), "select": "tuned", "splits": given}
    asked = ["клиент протокола", "klient protokola"]
    vectors = []
    for _ in range(2):  # the second time, the training is complete and only loaded
        model = TinyModel(seed=1, layers=1).load()
        training = train(model, QueryDistill(), **options, epochs=1, batch_size=8)
        vectors.append(model.encode_query(asked))

    assert training.resumed_from == training.steps
    assert training.transliterated == ("CYRILLIC" if transliterate else None)
    assert bool(training.new_tokens) is transliterate
    np.testing.assert_array_equal(*vectors)
    assert np.allclose(*vectors[0], atol=1e-6) is transliterate


def test_another_script_of_the_questions_is_another_training(train: Any) -> None:
    options = {"method": QueryEncoder(), "select": "tuned", "epochs": 1, "batch_size": 2}
    steps = []
    for asked in (ASKED, ["πρωτοκολλο", "διακομιστης αρχειων"]):
        model = TinyModel(seed=1, layers=1).load()
        steps.append(train(model, QueryDistill(), splits=splits(test=asked), **options).resumed_from)

    assert steps == [None, None]
