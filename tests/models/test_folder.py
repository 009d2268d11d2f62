from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace

from embexp.errors import ConfigError, ModelError
from embexp.finetuning.parameter_efficient import QueryEncoder
from embexp.models.folder import Overrides, TokenizerCounter, load_bi_encoder, token_counter
from embexp.models.tiny import build_tokenizer

NOTHING = Overrides()


def test_a_tokenizer_that_truncates_and_pads_does_not_hide_lengths() -> None:
    tokenizer = build_tokenizer()
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)

    assert TokenizerCounter(tokenizer, max_tokens=64).count(["a", "a " * 20]) == [1, 20]


def test_many_texts_are_counted_in_their_order() -> None:
    texts = ["a " * (number % 3) for number in range(2500)]

    assert TokenizerCounter(build_tokenizer(), max_tokens=64).count(texts) == [n % 3 for n in range(2500)]


def test_the_passage_prompt_takes_its_tokens_from_the_limit(saved: Path) -> None:
    # "passage: " is pas ##sa ##ge : — four tokens, and [CLS] and [SEP] make two more.
    tokens = token_counter(saved, Overrides(passage_prompt="passage: "))
    assert (tokens.limit, tokens.query_limit) == (256 - 2 - 4, 256 - 2)


@pytest.mark.parametrize(("override", "limit"), [(None, 256 - 2 - 3), ("passage: ", 256 - 2 - 4), ("", 254)])
def test_the_query_prompt_takes_its_tokens_from_the_query_limit(
    saved: Path, tmp_path: Path, override: str | None, limit: int
) -> None:
    # "query: " is que ##ry : — three tokens.
    folder = shutil.copytree(saved, tmp_path / "model")
    settings = json.dumps({"prompts": {"query": "query: "}})
    (folder / "config_sentence_transformers.json").write_text(settings)

    tokens = token_counter(folder, Overrides(query_prompt=override))
    assert (tokens.limit, tokens.query_limit) == (254, limit)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"sentence_bert_config.json": {"max_seq_length": 128}}, 128),
        ({"tokenizer_config.json": {"model_max_length": 100}}, 100),
        (
            {
                "tokenizer_config.json": {"model_max_length": 512},
                "config.json": {"max_position_embeddings": 90},
            },
            90,
        ),
        ({"tokenizer_config.json": {"model_max_length": 10**30}, "config.json": {}}, 8192),
    ],
)
def test_the_length_is_found_as_sentence_transformers_finds_it(
    saved: Path, tmp_path: Path, files: dict[str, object], limit: int
) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))

    assert token_counter(folder, NOTHING).limit == limit - 2
    assert token_counter(folder, Overrides(max_tokens=32)).limit == 30


def test_the_limit_agrees_with_the_loaded_model(saved: Path) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(saved), local_files_only=True)

    assert token_counter(saved, NOTHING).limit == model.max_seq_length - 2


def test_a_model_without_a_tokenizer_says_so(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    (folder / "tokenizer.json").unlink()

    with pytest.raises(ModelError, match=r"has no tokenizer.json: save the model again"):
        token_counter(folder, NOTHING)


@pytest.mark.parametrize(
    ("name", "message"), [("tokenizer.json", "is no tokenizer"), ("modules.json", "is not JSON")]
)
def test_a_broken_file_is_named(saved: Path, tmp_path: Path, name: str, message: str) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    (folder / name).write_text("{ not this")

    with pytest.raises(ModelError, match=rf"{name} {message}"):
        token_counter(folder, NOTHING)


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        ({"model_type": "bert", "max_position_embeddings": 256}, 256),
        ({"model_type": "xlm-roberta", "max_position_embeddings": 258, "pad_token_id": 1}, 256),
        ({"model_type": "t5"}, None),
    ],
)
def test_a_length_beyond_the_positions_is_refused(
    saved: Path, tmp_path: Path, config: dict[str, object], positions: int | None
) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(config))
    if positions is None:
        assert token_counter(folder, Overrides(max_tokens=1024)).limit == 1022
        return
    assert token_counter(folder, Overrides(max_tokens=positions)).limit == positions - 2
    with pytest.raises(
        ConfigError, match=rf"max_tokens is {positions + 1}.* positions for {positions} tokens"
    ):
        token_counter(folder, Overrides(max_tokens=positions + 1))


def test_a_model_with_too_few_positions_does_not_load(saved: Path) -> None:
    with pytest.raises(ConfigError, match=r"positions for \d+ tokens: give"):
        load_bi_encoder(saved, Overrides(max_tokens=100_000))


def test_weights_that_are_there_as_a_pickle_only_are_refused(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"not read: safetensors stand beside it")
    load_bi_encoder(folder, NOTHING)
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(
        ModelError, match=r"2_Dense/pytorch_model\.bin is a pickle, which can run code"
    ) as caught:
        load_bi_encoder(folder, NOTHING)
    assert "\n" not in str(caught.value)


def test_a_model_of_two_encoders_counts_with_the_tokenizer_of_its_passages(
    saved: Path, tmp_path: Path
) -> None:
    model = load_bi_encoder(saved, NOTHING, device="cpu")
    QueryEncoder().extend(model)
    model.save(str(tmp_path / "two"))

    counter = token_counter(tmp_path / "two", NOTHING)
    assert (tmp_path / "two" / "router_config.json").is_file()
    assert (counter.limit, counter.count(["a a a"])) == (254, token_counter(saved, NOTHING).count(["a a a"]))


def test_a_tokenizer_says_which_texts_have_letters_that_it_does_not_know() -> None:
    tokenizer = Tokenizer(WordPiece({"[UNK]": 0, "deque": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokens = TokenizerCounter(tokenizer, max_tokens=10)

    assert tokens.unknown(["deque", "锅", "deque 锅", ""]) == [False, True, True, False]


def test_a_byte_level_tokenizer_knows_all_letters() -> None:
    tokens = TokenizerCounter(build_tokenizer(), max_tokens=10)

    assert tokens.unknown(["锅", "как"]) == [False, False]
