"""Tokens for words that a tokenizer spells letter by letter."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers.pre_tokenizers import BertPreTokenizer

from embexp.data.records import Pair
from embexp.data.splitting import Splits
from embexp.finetuning.losses import Mnrl
from embexp.finetuning.new_tokens import FEWEST_PAIRS, add_tokens, extend_vocabulary
from embexp.finetuning.parameter_efficient import QueryEncoder
from embexp.finetuning.training import Training
from embexp.models.tiny import TinyModel
from tests.finetuning.jargon import JARGON, mean_reciprocal_rank

FOREIGN = {word: "".join(chr(0x430 + ord(letter) - ord("a")) for letter in word) for word in JARGON}
"""Each word in Cyrillic letters, which the tiny model's tokenizer spells byte by byte."""


def foreign_pairs(count: int, *, start: int = 0) -> list[Pair]:
    """Questions of two foreign words, each with a passage of the words that they stand for and a third."""
    pairs = []
    for number in range(start, start + count):
        one, other, third = (JARGON[(number * step + number // 30) % 30] for step in (1, 7, 11))
        pairs.append(
            Pair(
                id=f"p{number}",
                query=f"{FOREIGN[one]} {FOREIGN[other]}",
                positive=f"{one} {third} {other}",
                document_id=f"d{number}",
            )
        )
    return pairs


def english_pairs(count: int) -> list[Pair]:
    words = [JARGON[number % 30] for number in range(count)]
    return [
        Pair(id=f"e{at}", query=f"{word} manual", positive=f"{word} guide", document_id=f"e{at}")
        for at, word in enumerate(words)
    ]


def test_a_language_that_the_model_has_never_read_is_understood_before_any_training(model: Any) -> None:
    score = mean_reciprocal_rank(foreign_pairs(60, start=1000))
    before = score(model)["ndcg@10"]

    tokens = extend_vocabulary(model, foreign_pairs(300), most=4000)

    assert FOREIGN["lamach"] not in tokens, "the tokens are what the tokenizer sees: bytes"
    assert len(tokens) >= len(JARGON)
    assert score(model)["ndcg@10"] > 3 * before


def test_what_the_model_reads_already_has_the_same_vector(model: Any) -> None:
    texts = ["a plain sentence", "lamach mereth"]
    before = model.encode(texts)

    extend_vocabulary(model, foreign_pairs(300), most=4000)

    np.testing.assert_array_equal(model.encode(texts), before)


def test_the_same_pairs_give_the_same_model(model: Any) -> None:
    other = TinyModel(seed=1, layers=1).load()

    tokens = [extend_vocabulary(each, foreign_pairs(300), most=4000) for each in (model, other)]

    assert tokens[0] == tokens[1]
    question = foreign_pairs(1)[0].query
    np.testing.assert_array_equal(model.encode(question), other.encode(question))


def test_the_saved_model_has_the_tokens(model: Any, tmp_path: Path) -> None:
    extend_vocabulary(model, foreign_pairs(300), most=4000)
    question = foreign_pairs(1)[0].query

    model.save_pretrained(str(tmp_path))
    loaded = SentenceTransformer(str(tmp_path), device="cpu")

    assert loaded.tokenizer.tokenize(question) == model.tokenizer.tokenize(question)
    np.testing.assert_allclose(loaded.encode(question), model.encode(question), atol=1e-6)


@pytest.mark.parametrize(
    ("pairs", "most"),
    [
        (foreign_pairs(300), 0),
        (foreign_pairs(FEWEST_PAIRS - 1), 4000),
        (english_pairs(300), 4000),
        (foreign_pairs(120) + english_pairs(180), 4000),
        ([], 4000),
    ],
    ids=["not wanted", "too few pairs", "known words", "fewer than half of the words", "no pairs"],
)
def test_a_tokenizer_that_needs_no_tokens_stays_as_it_is(model: Any, pairs: list[Pair], most: int) -> None:
    size = len(model.tokenizer)

    assert extend_vocabulary(model, pairs, most=most) == []

    assert len(model.tokenizer) == size


def test_a_language_of_questions_and_passages_is_left_to_a_model_that_knows_it(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = [replace(pair, positive=f"{pair.query} {pair.query}") for pair in foreign_pairs(300)]

    assert extend_vocabulary(model, pairs, most=4000) == []

    assert "the model has never read their language. Choose one that has, such as model=hub" in caplog.text
    assert "multilingual" in caplog.text


def test_letters_that_the_tokenizer_does_not_know_get_tokens(model: Any) -> None:
    model.tokenizer.backend_tokenizer.pre_tokenizer = BertPreTokenizer()  # no bytes: 狗 is unknown to it
    animals = {"狗": JARGON[0], "猫": JARGON[1], "鼠": JARGON[2]}
    pairs = [
        Pair(id=f"p{n}", query=f"{one}{other}", positive=f"{word} {JARGON[n % 30]}", document_id=f"d{n}")
        for n, ((one, word), other) in enumerate(itertools.product(animals.items(), "羊牛" * 30))
    ]
    assert model.tokenizer.tokenize("狗猫") == ["[UNK]", "[UNK]"]

    extend_vocabulary(model, pairs, most=4000)

    assert model.tokenizer.tokenize("狗猫") == ["狗", "猫"]
    vectors = model.encode(["狗", JARGON[0], JARGON[1]], normalize_embeddings=True)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_no_more_tokens_are_added_than_wanted(model: Any) -> None:
    assert 0 < len(extend_vocabulary(model, foreign_pairs(300), most=20)) <= 20


def test_a_model_of_two_encoders_stays_as_it_is(model: Any) -> None:
    QueryEncoder().extend(model)

    assert extend_vocabulary(model, foreign_pairs(300), most=4000) == []


def test_a_model_without_a_wordpiece_tokenizer_stays_as_it_is() -> None:
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = Tokenizer(WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    model = SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=8)], device="cpu")

    assert extend_vocabulary(model, foreign_pairs(300), most=4000) == []


def test_a_worker_that_adds_the_tokens_has_weights_of_the_same_shapes(model: Any) -> None:
    worker = TinyModel(seed=1, layers=1).load()

    add_tokens(worker, extend_vocabulary(model, foreign_pairs(300), most=4000))

    shapes = [{name: value.shape for name, value in each.state_dict().items()} for each in (model, worker)]
    assert shapes[0] == shapes[1]
    question = foreign_pairs(1)[0].query
    assert worker.tokenizer.tokenize(question) == model.tokenizer.tokenize(question)


def test_training_goes_on_from_the_new_tokens_and_a_finished_one_is_taken_again(
    train: Callable[..., Training], model: Any, tmp_path: Path
) -> None:
    splits = Splits(train=foreign_pairs(300), dev=foreign_pairs(60, start=1000), test=[])
    score = mean_reciprocal_rank(list(splits.dev))
    options: dict[str, Any] = {"splits": splits, "dev_scores": score}
    plain = train(TinyModel(seed=1, layers=1).load(), Mnrl(), new_tokens=0, **options)
    options["work_dir"] = tmp_path / "new tokens"

    training = train(model, Mnrl(), **options)

    assert training.new_tokens >= len(JARGON)
    assert training.candidates["untuned"] > 3 * plain.candidates["untuned"]
    assert score(model)["ndcg@10"] > plain.candidates["tuned"]
    again = TinyModel(seed=1, layers=1).load()
    repeated = train(again, Mnrl(), **options)
    assert repeated.new_tokens == training.new_tokens
    assert score(again) == score(model)
