from __future__ import annotations

import pytest

from embexp.masking import MASK, _is_secret_key, masked, masked_text


@pytest.mark.parametrize(
    "key",
    [
        "api_key",
        "llm.api_key",
        "GROQ_API_KEY",
        "apiKey",
        "retriever.token",
        "hf_token",
        "password",
        "secrets.groq",
        "headers.Authorization",
        "aws.secret_access_key",
    ],
)
def test_a_secret_key_is_recognised(key: str) -> None:
    assert _is_secret_key(key)


@pytest.mark.parametrize(
    "key",
    [
        "max_tokens",
        "tokenizer",
        "token_budget",
        "api_key_env",
        "pad_token",
        "keyword",
        "passage",
        "tokens.limit",
    ],
)
def test_a_harmless_key_is_left_alone(key: str) -> None:
    assert not _is_secret_key(key)


def test_nested_secrets_are_masked_and_all_else_is_kept() -> None:
    config = {
        "llm": {
            "api_key": "abc",
            "max_tokens": 64,
            "api_key_env": "GROQ_API_KEY",
            "token": None,
            "password": "",
        },
        "secrets": {"first": "x", "more": ["y"]},
        "list": [{"token": "z"}, "plain"],
    }
    assert masked(config) == {
        "llm": {
            "api_key": MASK,
            "max_tokens": 64,
            "api_key_env": "GROQ_API_KEY",
            "token": None,
            "password": "",
        },
        "secrets": {"first": MASK, "more": [MASK]},
        "list": [{"token": MASK}, "plain"],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python -m embexp.run llm.api_key=abc seed=1", f"python -m embexp.run llm.api_key={MASK} seed=1"),
        ("api_key: 'a b'\nseed: 1", f"api_key: {MASK}\nseed: 1"),
        ("postgresql://me:geheim@db:5432/x", f"postgresql://me:{MASK}@db:5432/x"),
        ("key gsk_abcdefghijklmnop1234 rejected", f"key {MASK} rejected"),
        ("send Bearer abcdefgh.ijkl now", f"send {MASK} now"),
        ("api_key: null", "api_key: null"),
        ("max_tokens: 12", "max_tokens: 12"),
        ("what is a token?", "what is a token?"),
        ("http://host:5000/a", "http://host:5000/a"),
    ],
)
def test_text_loses_its_secrets_and_nothing_else(text: str, expected: str) -> None:
    assert masked_text(text) == expected
