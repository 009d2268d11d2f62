from __future__ import annotations

import base64
import io
import json
import logging
import pickle
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest

from embexp import masking
from embexp.errors import DataError
from embexp.masking import MASK, is_secret_key, masked, masked_text, remember_secrets


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
        "x-api-key",
        "db.pwd",
        "auth",
        "passphrase",
        "headers.Cookie",
        "Set-Cookie",
        "accessToken",
        "clientSecret",
        "PGPASSWORD",
        "hf.authToken",
        "Proxy-Authorization",
    ],
)
def test_a_secret_key_is_recognised(key: str) -> None:
    assert is_secret_key(key)


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
        "api_key_header",
        "author",
        "authority",
        "secretary",
        "passwordless",
        "cookiecutter",
    ],
)
def test_a_harmless_key_is_left_alone(key: str) -> None:
    assert not is_secret_key(key)


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


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the secrets that other tests have remembered."""
    monkeypatch.setattr(masking, "_known", set())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python -m embexp.run llm.api_key=abc seed=1", f"python -m embexp.run llm.api_key={MASK} seed=1"),
        ("api_key: 'a b'\nseed: 1", f"api_key: '{MASK}'\nseed: 1"),
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


SECRETS = [
    "postgresql://me:{}@db:5432/x",
    "see https://me:{}@host/v1?x=1 for more",
    "http://host/db?user=me&password={}",
    "Authorization: Basic {}",
    "Authorization: {}",
    "{{'authorization': 'Basic {}'}}",
    "the header Authorization: Token {} was refused",
    "token={}",
    "api_key={}",
    "https://host/v1?api_key={}",
    "x-api-key: {}",
    '{{"x-api-key":"{}","model":"m"}}',
    "curl -H 'x-api-key: {}'",
    "pwd={}",
    "auth={}",
    "passphrase={}",
    "Cookie: session={}; theme=dark",
    "cookie={}",
    "llm.headers.Authorization={}",
    "password: {}",
    "  password: {}  # a comment",
    "- password: {}",
    "clientSecret={}",
    "PGPASSWORD={} psql",
]


@pytest.mark.parametrize("form", SECRETS)
@pytest.mark.parametrize(
    "secret", ["hunter2", "p/w@x", "50%25off", "a?password=b", "Zm9vOmJhcg==", "a.b-c_d~e"]
)
def test_no_part_of_a_secret_is_left_in_any_form(form: str, secret: str) -> None:
    shown = masked_text(form.format(secret))
    assert secret not in shown
    assert MASK in shown


@pytest.mark.parametrize(
    "text",
    [
        "llm.api_key_env=GROQ_API_KEY: this environment variable is not set. Run `export GROQ_API_KEY=…`",
        "if it asks for a token, set CHROMA_TOKEN",
        "a token: one that the service knows",
        "Basic information about the corpus",
        "dataset.password='${oc.env:PDF_PASSWORD}'",
        "12:30:05 Training: 3 of 10",
        "tests/test_auth.py::test_a",
        "sqlite:////data/mlflow.db",
        "models:/tuned@champion",
        "ada@example.org asked http://host:5000/a",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked_text(text) == text


def test_a_remembered_secret_is_masked_wherever_it_turns_up_and_however_it_is_spelt() -> None:
    secret = "Gänse'füß\\chen \"& Co/@%"
    remember_secrets({"dataset": {"password": secret}})
    for shown in (
        secret,
        repr(secret),
        json.dumps(secret),
        quote(secret),
        quote(secret, safe=""),
        escape(secret),
    ):
        assert masked_text(f"cannot open with {shown}!") in (
            f"cannot open with {MASK}!",
            f"cannot open with '{MASK}'!",
            f'cannot open with "{MASK}"!',
        )


def test_the_password_of_an_address_is_masked_where_a_library_reads_it_in_parts() -> None:
    remember_secrets({"tracker": {"uri": "postgresql://me:first/second@third@db/x"}})
    assert (
        masked_text("could not translate host name second@third@db")
        == f"could not translate host name {MASK}@{MASK}@db"
    )
    basic = base64.b64encode(b"me:first/second@third").decode()
    assert basic not in masked_text(f"sent {basic}")


def test_the_value_of_a_secret_variable_is_masked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SERVICE_API_KEY", "rosebud-1941")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:xanadu77@proxy:3128")
    monkeypatch.setenv("all_proxy", "me:kane-of-x@proxy:3128")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    monkeypatch.setenv("OTHER", "left-alone")
    shown = masked_text(f"rosebud-1941 xanadu77 kane-of-x {tmp_path} {Path.cwd()} left-alone")
    assert shown == f"{MASK} {MASK} {MASK} {tmp_path} {Path.cwd()} left-alone"


def test_the_value_of_a_variable_that_a_setting_names_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "rosebud-1941")
    assert masked_text("rosebud-1941") == "rosebud-1941"
    remember_secrets({"llm": {"api_key_env": "MINE"}})
    assert masked_text("rosebud-1941") == MASK


def test_a_short_secret_is_no_part_of_other_words() -> None:
    remember_secrets("dataset.password=able")
    assert masked_text("able tables: dataset.password=able") == f"{MASK} tables: dataset.password={MASK}"
    remember_secrets("dataset.password=abc")
    assert masked_text("abc") == "abc"


def test_numbers_and_lists_below_a_secret_key_are_masked() -> None:
    assert masked({"password": 12345, "pwd": [1, "x"], "token": True}) == {
        "password": MASK,
        "pwd": [MASK, MASK],
        "token": True,
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("dataset.password=two words, and more", f"dataset.password={MASK}"),
        ("+tracker@t.token={a: b}", f"+tracker@t.token={MASK}"),
        ("postgresql://me:two words@db/x", f"postgresql://me:{MASK}@db/x"),
        ("${oc.env:PDF_PASSWORD}", "${oc.env:PDF_PASSWORD}"),
    ],
)
def test_a_whole_value_is_read_as_one(value: str, expected: str) -> None:
    assert masked([value]) == [expected]


def test_an_interpolation_is_no_secret_unless_it_holds_one() -> None:
    assert masked({"password": "${oc.env:PDF_PASSWORD}"}) == {"password": "${oc.env:PDF_PASSWORD}"}
    assert masked({"password": "${oc.env:PDF_PASSWORD,geheim}"}) == {"password": MASK}


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "a:" * 100_000, "x://y:" * 30_000, "token=" * 30_000, "'" * 100_000]
)
def test_masking_takes_time_in_proportion_to_the_text(text: str) -> None:
    masked_text(text)


def test_a_log_line_a_traceback_and_a_stack_hold_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    remember_secrets({"password": "rosebud 1941"})
    monkeypatch.setattr(logging, "_logRecordFactory", masking._MaskedRecord)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    log = logging.getLogger("masked")
    log.addHandler(handler)
    try:
        try:
            raise ValueError("cannot open with 'rosebud 1941'")
        except ValueError:
            log.exception("failed with %s", "rosebud 1941", stack_info=True)
        log.warning("broken %d", "rosebud 1941")
    finally:
        log.removeHandler(handler)
    assert "rosebud" not in stream.getvalue()
    assert stream.getvalue().count(MASK) >= 3
    assert "Traceback" in stream.getvalue()


def test_an_error_of_embexp_holds_no_secret() -> None:
    remember_secrets({"password": "rosebud-1941"})
    error = DataError("cannot open a.pdf with rosebud-1941: check dataset.password.")
    assert str(error) == f"cannot open a.pdf with {MASK}: check dataset.password."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 our own bytes
