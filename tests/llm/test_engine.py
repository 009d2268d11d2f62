from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embexp.errors import ConfigError, EmbexpError
from embexp.llm.groq import GroqLLM
from embexp.llm.journal import records
from embexp.llm.llm import Message, Request
from tests.llm.groq_server import GroqServer

Serve = Callable[..., GroqServer]
Groq = Callable[..., GroqLLM]
Requests = Callable[..., list[Request]]


def texts(llm: GroqLLM, journal: Path, requests: list[Request]) -> list[str | None]:
    with llm.open(journal) as engine:
        return [
            answer.completion.text if answer.completion else answer.failure
            for answer in engine.complete(requests)
        ]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_answers_come_in_order_many_at_once(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve(latency=0.1)
    asked = requests(60)
    with groq(server).open(journal) as engine:
        answers = list(engine.complete(asked))
        usage = engine.usage()
    assert [answer.request for answer in answers] == asked
    assert len({answer.completion.text for answer in answers if answer.completion}) == 60
    assert all(
        len(json.loads(answer.completion.text)["queries"]) == 2 for answer in answers if answer.completion
    )
    assert usage.requests == 60
    assert usage.usd == pytest.approx((usage.prompt_tokens * 0.59 + usage.completion_tokens * 0.79) / 1e6)
    assert server.counts.most_at_once > 8


def test_a_recorded_answer_is_not_requested_again(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve()
    first = texts(groq(server), journal, requests(10))
    with groq(server).open(journal) as engine:
        again = [answer.completion.text for answer in engine.complete(requests(12)) if answer.completion]
        assert engine.usage().requests == 2
    assert again[:10] == first
    assert server.summary()["arrived"] == 12


def test_an_answer_is_on_disk_before_it_is_yielded(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    with groq(serve()).open(journal) as engine:
        for number, answer in enumerate(engine.complete(requests(20)), start=1):
            written = [record["text"] for _, record in records(journal)]
            assert answer.completion is not None
            assert answer.completion.text in written
            assert len(written) >= number


def test_the_same_request_twice_is_asked_once(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve(latency=0.05)
    found = texts(groq(server), journal, requests(1) * 5)
    assert len(set(found)) == 1
    assert server.summary()["arrived"] == 1


def test_requests_are_drawn_lazily_and_nothing_is_sent_when_nobody_asks(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server, drawn = serve(latency=0.05), 0

    def endless() -> Iterator[Request]:
        nonlocal drawn
        for request in requests(10_000):
            drawn += 1
            yield request

    with groq(server, max_concurrency=4).open(journal) as engine:
        answers = engine.complete(endless())
        for _ in range(3):
            next(answers)
        answers.close()
    assert drawn < 40
    assert server.summary()["arrived"] < 20
    assert server.summary()["answered"] == len(list(records(journal)))  # what was under way is kept


@pytest.mark.parametrize(
    "fault",
    ["429", "429_bare", "500", "503", "drop", "truncated", "html", "empty", "null", "encoding", "slow"],
)
def test_a_passing_failure_is_retried(
    fault: str, serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve(retry_after=0.1, slow_seconds=9.0)
    server.queue.extend(["", fault, "", fault])
    with groq(server, timeout_seconds=3.0).open(journal) as engine:
        answers = list(engine.complete(requests(8)))
    assert all(answer.completion for answer in answers)
    assert server.summary()["answered"] == 8
    assert server.counts.faults[fault] == 2


def test_random_failures_are_retried(serve: Serve, groq: Groq, requests: Requests, journal: Path) -> None:
    server = serve(faults=0.2, seed=3, retry_after=0.05, slow_seconds=20.0)
    found = texts(groq(server, timeout_seconds=10.0), journal, requests(150))
    assert len(set(found)) == 150
    assert server.summary()["distinct"] == 150
    assert server.summary()["repeated"] == 0


def test_retry_after_is_obeyed_in_full(serve: Serve, groq: Groq, requests: Requests, journal: Path) -> None:
    server = serve(retry_after=1.2)
    server.queue.append("429")
    start = time.monotonic()
    texts(groq(server, max_concurrency=1), journal, requests(2))
    assert time.monotonic() - start >= 1.2
    assert server.counts.early == 0


def test_a_wait_of_more_than_a_minute_is_kept_and_said(
    serve: Serve, groq: Groq, requests: Requests, journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(retry_after_long=61.0)
    server.queue.append("429_long")
    with groq(server).open(journal) as engine:
        pending = engine._run(engine._answer(1, "11" * 32, requests(1)[0]))
        time.sleep(0.5)
        assert not pending.done()
        left = engine._limiter._hold_until - time.monotonic()
        assert 30.0 < left <= 60.6  # what is left of 61 s, on a busy machine, too
        engine._limiter.stop(EmbexpError("enough"))
    assert "Waiting 61 s, as the service asks" in caplog.text


def test_the_configured_rate_is_kept(serve: Serve, groq: Groq, requests: Requests, journal: Path) -> None:
    server = serve()
    with groq(server, requests_per_minute=5).open(journal) as engine:
        answers = engine.complete(requests(6))
        for _ in range(5):
            next(answers)
        time.sleep(0.3)
        assert server.summary()["arrived"] == 5
        assert 30.0 < engine._limiter._wait(1) < 61.0  # a minute, less what has passed since
        answers.close()


def test_the_service_s_limit_is_learnt_from_its_headers(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve(rpm=60, window=2.0, latency=0.01)
    start = time.monotonic()
    found = texts(groq(server), journal, requests(180))
    seconds = time.monotonic() - start
    assert len(set(found)) == 180
    # 60 at once, 60 when the service's two seconds are over, and 60 after two more; 120 s at 60 a minute.
    assert 4.0 < seconds < 60.0
    assert server.summary()["refused"] < 20


def test_the_service_s_limit_is_learnt_from_a_refusal(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve(rpm=10, requests_header="day")
    with groq(server, max_concurrency=1).open(journal) as engine:
        answers = engine.complete(requests(30))
        for _ in range(10):
            next(answers)
        time.sleep(0.3)
        assert engine._limiter._rpm.limit == 10
        assert engine._limiter._wait(1) > 30.0
        answers.close()
    assert server.counts.early == 0


def test_a_refused_key_ends_the_run_at_once(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve(key="another")
    with pytest.raises(EmbexpError, match=r"refuses the key in GROQ_API_KEY \(HTTP 401\)"):
        texts(groq(server), journal, requests(50))
    assert server.counts.arrived == 0


def test_a_missing_key_is_named_before_anything_else(
    groq: Groq, serve: Serve, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    llm = groq(serve(), api_key_env="MY_KEY")
    with pytest.raises(ConfigError, match=r"llm\.api_key_env=MY_KEY: this environment variable is not set"):
        llm.check()
    with pytest.raises(ConfigError, match="export MY_KEY"), llm.open(journal):
        pass
    assert not journal.exists()


def test_a_model_that_is_gone_is_replaced_loudly(
    serve: Serve, groq: Groq, requests: Requests, journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(gone=["llama-3.3-70b-versatile"])
    with groq(server).open(journal) as engine:
        models = {answer.completion.model for answer in engine.complete(requests(20)) if answer.completion}
    assert models == {"openai/gpt-oss-120b"}
    assert "THE MODEL llama-3.3-70b-versatile IS NO LONGER AVAILABLE" in caplog.text
    assert caplog.text.count("IS NO LONGER AVAILABLE") == 1


def test_a_model_that_is_gone_without_a_fallback_ends_the_run(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve(gone=["llama-3.3-70b-versatile"])
    with pytest.raises(EmbexpError, match=r"no fallback is left: set llm\.model"):
        texts(groq(server, fallback_models=[]), journal, requests(5))


@pytest.mark.parametrize("lacking", ["no_schema", "no_json"])
def test_a_model_without_a_format_is_asked_in_a_simpler_one(
    lacking: str, serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve(**{lacking: ["llama-3.3-70b-versatile"]})
    found = texts(groq(server), journal, requests(30))
    assert all(len(json.loads(text or "")["queries"]) == 2 for text in found)
    assert server.summary()["arrived"] - 30 <= 16  # it is found out once, by those under way together


def test_gpt_oss_is_told_how_long_to_think_and_llama_is_not() -> None:
    protocol, request = GroqLLM(reasoning_effort="high").chat_protocol(), Request((Message("user", "x"),))
    assert protocol.body(request, "openai/gpt-oss-120b")["reasoning_effort"] == "high"
    assert "reasoning_effort" not in protocol.body(request, "llama-3.3-70b-versatile")


def test_what_is_too_long_is_reported_and_the_rest_goes_on(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve(context=1000)
    long = Request((Message("user", "word " * 2000),), max_tokens=10)
    assert texts(groq(server), journal, [long, *requests(1)])[0] == "too long"


def test_a_refused_request_is_reported(serve: Serve, groq: Groq, requests: Requests, journal: Path) -> None:
    server = serve()
    server.queue.append("400")
    found = texts(groq(server, max_concurrency=1), journal, requests(2))
    assert found[0] == "refused: HTTP 400 Fault 400"
    assert found[1] is not None


def test_when_every_request_is_refused_the_run_ends(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve()
    server.queue.extend(["400"] * 200)
    with pytest.raises(EmbexpError, match="refuses every request"):
        texts(groq(server), journal, requests(100))


def test_json_that_the_service_could_not_enforce_is_handed_on_for_repair(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve()
    server.queue.append("invalid_json")
    with groq(server).open(journal) as engine:
        answer = next(engine.complete(requests(1)))
    assert answer.completion is not None
    assert (answer.completion.text, answer.completion.finish_reason) == ("{oops", "json_validate_failed")


def test_a_service_that_does_not_come_back_ends_the_run_with_what_to_do(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve()
    server.queue.extend([""] * 5 + ["503"] * 5000)
    with pytest.raises(EmbexpError, match=r"failed 4 times in a row.*HTTP 503.*run the same command again"):
        texts(groq(server, give_up_after=4, max_attempts=50), journal, requests(30))
    kept = len(list(records(journal)))
    assert kept == 5
    server.queue.clear()
    assert len(set(texts(groq(server), journal, requests(30)))) == 30
    assert server.summary()["repeated"] == 0


def test_one_request_that_always_fails_does_not_end_the_run(
    serve: Serve, groq: Groq, requests: Requests, journal: Path
) -> None:
    server = serve()
    server.queue.extend(["500"] * 3)
    found = texts(groq(server, max_concurrency=1, max_attempts=3), journal, requests(1))
    assert found == ["no answer after 3 attempts: HTTP 500 Fault 500"]


def test_nobody_at_the_address_is_said(groq: Groq, requests: Requests, journal: Path) -> None:
    llm = GroqLLM(base_url="http://127.0.0.1:9", give_up_after=3, backoff_seconds=0.01, max_attempts=20)
    with pytest.raises(EmbexpError, match="no connection"):
        texts(llm, journal, requests(3))


def test_the_budget_is_a_hard_stop(serve: Serve, groq: Groq, requests: Requests, journal: Path) -> None:
    server = serve(latency=0.02)
    with pytest.raises(EmbexpError, match=r"llm\.budget_usd=0\.001 is used up"):
        texts(groq(server, budget_usd=0.001), journal, requests(500))
    spent = sum(record["usd"] for _, record in records(journal))
    assert 0.0008 < spent <= 0.001
    arrived = server.counts.arrived
    with pytest.raises(EmbexpError, match="is used up"):
        texts(groq(server, budget_usd=0.001), journal, requests(500))
    assert server.counts.arrived == arrived  # a restart does not open the purse again
    assert len(list(records(journal))) == arrived


@pytest.mark.parametrize("given", ["host", "path", "environment"])
def test_the_address_may_be_given_in_each_way(
    given: str, serve: Serve, requests: Requests, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    if given == "environment":
        monkeypatch.setenv("GROQ_BASE_URL", server.url)
    url = {"host": server.url + "/", "path": server.url + "/openai/v1", "environment": None}[given]
    assert texts(GroqLLM(base_url=url), journal, requests(1))[0]


def test_the_key_is_written_nowhere(
    serve: Serve,
    groq: Groq,
    requests: Requests,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentinel = "gsk_sentinel_4711"
    monkeypatch.setenv("GROQ_API_KEY", sentinel)
    caplog.set_level(logging.DEBUG)
    server = serve(key=sentinel)
    server.queue.extend(["500", "html", "400", "503"])
    llm = groq(server)
    texts(llm, tmp_path / "journal.jsonl", requests(10))
    refusing = groq(serve(key="another"))
    with pytest.raises(EmbexpError) as caught:
        texts(refusing, tmp_path / "refused.jsonl", requests(1))
    files = [path.read_bytes().decode() for path in tmp_path.rglob("*") if path.is_file()]
    chain = [caught.value, caught.value.__cause__]
    for text in [*files, caplog.text, repr(llm), *(f"{one!r} {one}" for one in chain)]:
        assert sentinel not in text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"requests_per_minute": 0}, r"llm\.requests_per_minute is 0: give a whole number .*, or null"),
        ({"max_concurrency": 0}, r"llm\.max_concurrency is 0"),
        ({"backoff_seconds": 0.0}, r"llm\.backoff_seconds is 0\.0"),
        ({"timeout_seconds": 0.0}, r"llm\.timeout_seconds is 0\.0"),
        ({"max_attempts": 0}, r"llm\.max_attempts is 0"),
        ({"budget_usd": -1.0}, r"llm\.budget_usd is -1\.0: give a number above 0"),
        ({"budget_usd": 1.0, "model": "new/model"}, r"the price of new/model is not known"),
        ({"prices": {"m": {"input": 1.0}}}, r"llm\.prices\.m=.*give two prices"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GroqLLM(**settings)  # type: ignore[arg-type]
