from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from embexp.errors import ConfigError
from embexp.models.tiny import TinyModel, build_tokenizer

TEXTS = ["how do I cap a deque", "a deque with a maximum length", "reading a csv file", "日本語 déjà 😀", ""]


def test_the_same_seed_gives_the_same_vectors() -> None:
    first, again = TinyModel(seed=3).load().encode(TEXTS), TinyModel(seed=3).load().encode(TEXTS)

    assert first.shape == (5, 64)
    assert np.array_equal(first, again)


def test_another_seed_gives_other_vectors_and_another_fingerprint() -> None:
    one, other = TinyModel(seed=1), TinyModel(seed=2)

    assert one.fingerprint() != other.fingerprint()
    assert not np.allclose(one.load().encode(TEXTS[:1]), other.load().encode(TEXTS[:1]))


def test_loading_leaves_torchs_generator_alone() -> None:
    import torch

    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    TinyModel().load()

    assert torch.equal(before, torch.random.get_rng_state())


def test_texts_that_share_words_are_nearer_untrained() -> None:
    vectors = TinyModel().load().encode(TEXTS, normalize_embeddings=True)

    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] > vectors[0] @ vectors[3]


def test_a_saved_model_answers_as_before(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = TinyModel(dimension=16, layers=1).load()
    model.save(str(tmp_path / "model"))
    again = SentenceTransformer(str(tmp_path / "model"), local_files_only=True)

    np.testing.assert_allclose(again.encode(TEXTS), model.encode(TEXTS), atol=1e-6)
    assert again.max_seq_length == 256


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Deque!", ["deq", "##ue", "!"]),
        ("a.b", ["a", ".", "b"]),
        ("x1", ["x", "##1"]),
        ("é", ["e"]),
        ("", []),
    ],
)
def test_words_are_cut_into_three_letters_then_pairs(text: str, pieces: list[str]) -> None:
    assert build_tokenizer().encode(text, add_special_tokens=False).tokens == pieces


def test_no_text_is_unknown_to_the_tokenizer() -> None:
    tokens = build_tokenizer().encode("日本語 😀 \x01 ß Ω 'quoted'").tokens

    assert "[UNK]" not in tokens
    assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]")


def test_the_counter_leaves_room_for_the_two_special_tokens() -> None:
    counter = TinyModel().tokens()

    assert counter.limit == 256 - 2
    assert counter.count(["deque", "", "deque " * 400]) == [2, 0, 800]


@pytest.mark.parametrize("dimension", [6, 66])
def test_a_dimension_that_the_heads_cannot_share_is_refused(dimension: int) -> None:
    with pytest.raises(ConfigError, match=rf"model.dimension is {dimension}: give a multiple of 4"):
        TinyModel(dimension=dimension)


@pytest.mark.parametrize(("key", "value"), [("layers", 0), ("dimension", 3), ("seed", -1)])
def test_sizes_without_sense_are_refused(key: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"model.{key} is {value}: give a whole number from"):
        TinyModel(**{key: value})
