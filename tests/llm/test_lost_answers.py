"""Which failures may have been charged, how a request goes again, and what the budget makes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from embexp.errors import ConfigError, EmbexpError
from embexp.llm.llm import Message, Request, Usage
from embexp.llm.openai_compatible import OpenAICompatibleLLM
from tests.llm.chat_server import ChatServer, Response, Sent, chat, refusal

HEADER = "Idempotency-Key"
ASKED = Request((Message("user", "Which?"),), max_tokens=50)
WORST = (6 + 50) / 1_000_000  # two tokens of text and four of the chat, at 1 US$ a million
Service = Callable[..., ChatServer]


def ask(server: ChatServer, journal: Path, **settings: object) -> tuple[str | None, Usage]:
    given = {"model": "m", "prices": {"m": {"input": 1.0, "output": 1.0}}, "idempotency_header": HEADER}
    source = OpenAICompatibleLLM(base_url=server.url, **{**given, "backoff_seconds": 0.01, **settings})
    with source.open(journal) as llm:
        [answer] = llm.complete([ASKED])
        return (answer.completion.text if answer.completion else answer.failure), llm.usage()


def first(response: Response) -> Callable[[Sent], Response]:
    """Give this response once, then an answer."""
    left = [response]
    return lambda _sent: left.pop() if left else chat("That one.")


@pytest.mark.parametrize(
    ("response", "same_key", "lost"),
    [
        (refusal("Still working on it", 409), True, 0),
        (refusal("Overloaded", 503), False, 0),
        (refusal("Slow down", 429), False, 0),
        (Response(b"<html>"), False, 1),
        (Response({"choices": []}), False, 1),
        # A body shorter than it says: the connection breaks before the answer is whole.
        (Response(b"{", headers={"content-length": "10", "connection": "close"}), True, 0),
    ],
    ids=["conflict", "overloaded", "rate", "unreadable", "empty", "broken off"],
)
def test_a_request_goes_again_under_its_key_only_where_its_answer_may_be_on_the_way(
    chat_service: Service, tmp_path: Path, response: Response, *, same_key: bool, lost: int
) -> None:
    server = chat_service(first(response))
    text, usage = ask(server, tmp_path / "journal.jsonl")
    assert text == "That one."
    keys = [sent.headers[HEADER.lower()] for sent in server.sent]
    assert (len(keys), keys[0] == keys[1]) == (2, same_key)
    assert (usage.unanswered, usage.unanswered_usd) == (lost, pytest.approx(lost * WORST))


def test_without_a_header_none_is_sent_and_a_broken_connection_counts_as_lost(
    chat_service: Service, tmp_path: Path
) -> None:
    broken = Response(b"{", headers={"content-length": "10", "connection": "close"})
    server = chat_service(first(broken))
    text, usage = ask(server, tmp_path / "journal.jsonl", idempotency_header=None)
    assert (text, usage.unanswered) == ("That one.", 1)
    assert all(HEADER.lower() not in sent.headers for sent in server.sent)


def test_a_corrected_body_has_a_key_of_its_own(chat_service: Service, tmp_path: Path) -> None:
    """Services refuse a key that they have seen with another body."""

    def reply(sent: Sent) -> Response:
        return refusal("Unsupported parameter: 'seed'", param="seed") if "seed" in sent.body else chat("Yes.")

    server = chat_service(reply)
    source = OpenAICompatibleLLM(model="m", base_url=server.url, idempotency_header=HEADER)
    with source.open(tmp_path / "journal.jsonl") as llm:
        [answer] = llm.complete([Request((Message("user", "Which?"),), seed=3)])
    assert answer.completion is not None
    assert len({sent.headers[HEADER.lower()] for sent in server.sent}) == len(server.sent) == 2


def test_the_budget_counts_what_was_sent_and_never_answered(chat_service: Service, tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    server = chat_service(lambda _sent: Response(b"<html>"))
    settings = {"budget_usd": 2.5 * WORST, "max_attempts": 9}
    with pytest.raises(EmbexpError, match=r"is used up: 0\.0001 US\$ are spent"):
        ask(server, journal, **settings)
    assert len(server.sent) == 2  # a third one might exceed it
    with pytest.raises(EmbexpError, match="is used up"):
        ask(server, journal, **settings)
    assert len(server.sent) == 2  # a restart does not open the purse again


@pytest.mark.parametrize("name", ["", "Idempotency Key", "Key:", "Schlüssel"])
def test_what_is_no_header_s_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"llm\.idempotency_header=.* is no name of a header"):
        OpenAICompatibleLLM(model="m", base_url="http://127.0.0.1:9/v1", idempotency_header=name)
