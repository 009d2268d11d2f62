"""A language model as judge of relevance; its requests are pinned, so that recorded answers still replay."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from contextlib import nullcontext

import pytest

from embexp.benchmarking.judging import judge
from embexp.benchmarking.task import Query, RetrievalTask
from embexp.errors import ConfigError, DataError
from embexp.llm.journal import request_key
from embexp.llm.llamacpp import LlamaCppLLM
from embexp.llm.llm import Request
from embexp.retrieval.index import Hit
from tests.synthesis.synthesis_fakes import FakeLLM, draw, knowledge

CHUNKS = knowledge(5, 3)
QUERIES = [Query(f"q{n}", f"what is {CHUNKS[n].text.split()[0]}?\u202e", cluster="") for n in range(6)]
TASK = RetrievalTask("asked", CHUNKS, QUERIES, {}, "chunk", judge_depth=8)
RANKINGS = {
    system: {
        query.id: [Hit(chunk.id, 1.0) for chunk in draw(system, query.id).sample(CHUNKS, 12)]
        for query in QUERIES
    }
    for system in ("untuned", "bm25")
}


def digest(values: Iterable[object]) -> str:
    lines = (json.dumps(value, sort_keys=True) for value in values)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def sometimes_bad(request: Request) -> str:
    rng = draw([message.content for message in request.messages])
    if rng.random() < 0.2:
        return "no JSON"
    passages = request.messages[-1].content.count("<passage-")
    grades = [{"number": n + 1, "grade": rng.randint(-1, 4)} for n in range(passages)]
    return json.dumps({"grades": grades})


def test_requests_and_judgments(caplog: pytest.LogCaptureFixture) -> None:
    llm = FakeLLM(reply=sometimes_bad)
    with caplog.at_level(logging.INFO):
        judged, judging = judge(TASK, RANKINGS, source=LlamaCppLLM(chat=True), llm=nullcontext(llm))
    assert digest(request_key(request, {"model": "m"}) for request in llm.asked) == "97698a92c3575824"
    clusters = [[query.id, query.cluster] for query in judged.queries]
    assert digest([judged.qrels, clusters]) == "547e3a017b750a48"
    assert (judging.pairs, judging.unreadable, judging.left_out, judging.depth) == (66, 29, 0, 8)
    assert (judging.model, judged.judge_depth) == ("fake", None)
    assert "11 requests will judge 66 passages" in caplog.text
    assert "judging: requests: 11" in caplog.text


def test_a_question_without_a_relevant_passage_is_left_out() -> None:
    def one_answer(request: Request) -> str:
        grade = 2 if QUERIES[0].text[:-1] in request.messages[-1].content else 0
        return json.dumps({"grades": [{"number": 1, "grade": grade}]})

    judged, judging = judge(TASK, RANKINGS, source=None, llm=nullcontext(FakeLLM(reply=one_answer)))
    assert [query.id for query in judged.queries] == ["q0"]
    assert judging.left_out == 5


@pytest.mark.parametrize(
    ("llm", "message"), [(None, "llm is not set"), (FakeLLM(chat=False), "fake only completes text")]
)
def test_a_chat_model_is_needed(llm: FakeLLM | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        judge(TASK, RANKINGS, source=None, llm=nullcontext(llm))


def test_no_relevant_passage_at_all_is_an_error() -> None:
    llm = FakeLLM(reply=lambda request: "no idea")
    with pytest.raises(DataError, match="found no passage that answers any of the 6 questions"):
        judge(TASK, RANKINGS, source=None, llm=nullcontext(llm))
