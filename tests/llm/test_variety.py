"""Services, models and answers as they are: each is met by a loopback service that counts its requests."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embexp.errors import ConfigError, EmbexpError
from embexp.llm.groq import GroqLLM
from embexp.llm.journal import records
from embexp.llm.llm import Answer, Message, Request
from embexp.llm.openai_compatible import OpenAICompatibleLLM
from embexp.llm.replay import ReplayLLM
from tests.llm.chat_server import ChatServer, Reply, Response, Sent, chat, prompt_of, refusal

Start = Callable[..., ChatServer]
Requests = Callable[..., list[Request]]
GOOD = chat('{"queries": ["a", "b"]}')


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def service(server: ChatServer, **settings: Any) -> OpenAICompatibleLLM:
    given = {
        "model": "m",
        "base_url": server.url,
        "backoff_seconds": 0.01,
        "timeout_seconds": 5.0,
        **settings,
    }
    return OpenAICompatibleLLM(**given)


def answers(llm: Any, journal: Path, requests: list[Request]) -> list[Answer]:
    with llm.open(journal) as engine:
        return list(engine.complete(requests))


def endings(found: list[Answer]) -> list[str | None]:
    return [answer.completion.finish_reason if answer.completion else answer.failure for answer in found]


# A refused request is not a failing service.


@pytest.mark.parametrize(
    ("declined", "ending"),
    [
        (chat(None, finish="content_filter"), "content_filter"),
        (chat("Partly wri", finish="content_filter"), "content_filter"),
        (chat(None, refusal="I'm sorry, I cannot help with that."), "refusal"),
        (chat(None), "refusal"),
        (chat("  "), "refusal"),
        (chat(None, finish="SAFETY"), "content_filter"),
        (refusal("The response was filtered", code="content_filter"), "content_filter"),
        (
            refusal("Output data may contain inappropriate content.", code="data_inspection_failed"),
            "content_filter",
        ),
        (refusal("Your input was flagged, this model requires moderation", 403), "content_filter"),
    ],
)
def test_a_declined_request_is_asked_once_and_ends_nothing(
    declined: Response, ending: str, chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(lambda sent: declined if int(prompt_of(sent).split()[-1][:-1]) % 2 else GOOD)
    found = answers(service(server), journal, requests(60))
    assert len(server.sent) == 60  # one request each: none of the 30 declined ones is sent again
    assert endings(found) == ["stop", ending] * 30


def test_a_declined_request_at_groq_is_asked_once(
    chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(lambda _: chat(None, refusal="I cannot help with that."))
    groq = GroqLLM(base_url=server.url.removesuffix("/v1"))
    assert endings(answers(groq, journal, requests(30))) == ["refusal"] * 30
    assert len(server.sent) == 30


def test_a_declined_request_is_not_paid_again_by_the_next_run_and_replays(
    chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(lambda _: chat(None, finish="content_filter"))
    first = answers(service(server), journal, requests(12))
    again = answers(service(server), journal, requests(12))
    assert (len(server.sent), again) == (12, first)
    assert answers(ReplayLLM(path=str(journal)), journal, requests(12)) == first
    assert sum(record["prompt_tokens"] for _, record in records(journal)) == 12 * 40


def test_the_wait_is_the_service_s_only_where_it_asked(
    chat_service: Start, requests: Requests, journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = chat_service(lambda _: refusal("down", 503))
    llm = service(server, give_up_after=5, max_attempts=20, backoff_seconds=40.0)
    with llm.open(journal) as engine:
        engine._limiter._failures = 3
        engine._limiter._hold(40.0, "HTTP 503 down", asked=False)
        engine._limiter._hold(80.0, "HTTP 429 slow", asked=True)
    assert "Waiting 40 s, since it fails again and again (HTTP 503 down)" in caplog.text
    assert "Waiting 80 s, as the service asks (HTTP 429 slow)" in caplog.text


# Any OpenAI-compatible service: what it refuses is left out once, and said.


def rejecting(**refused: Response) -> Reply:
    """Answer with the given refusal where a body has the field."""

    def reply(sent: Sent) -> Response:
        return next((refused[name] for name in sent.body if name in refused), GOOD)

    return reply


UNSUPPORTED = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
EXTRA = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]
GEMINI = [
    {
        "error": {
            "code": 400,
            "message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.',
        }
    }
]


@pytest.mark.parametrize(
    ("refused", "corrections", "absent", "said"),
    [
        (
            {"max_tokens": refusal(UNSUPPORTED, param="max_tokens")},
            1,
            "max_tokens",
            "m expects max_completion_tokens instead of max_tokens",
        ),
        (
            {
                "temperature": refusal(
                    "Unsupported value: 'temperature' does not support 0.7 with this model."
                )
            },
            1,
            "temperature",
            "m rejects temperature=0.7",
        ),
        ({"seed": Response({"detail": EXTRA}, 422)}, 1, "seed", "m rejects seed=3"),
        ({"seed": Response(GEMINI, 400)}, 1, "seed", "m rejects seed=3"),
        ({"reasoning_effort": refusal("`reasoning_effort` must be `none`")}, 1, "reasoning_effort", "=low"),
        ({"stop": refusal("'stop' is not supported with this model")}, 1, "stop", "m rejects stop"),
        (
            {"response_format": refusal("Failed to initialize samplers: failed to parse grammar")},
            2,
            "response_format",
            "text",
        ),
        ({"response_format": refusal("failed to parse grammar", 500)}, 2, "response_format", "text"),
        ({"response_format": refusal("'response_format.type' must be 'text'")}, 2, "response_format", "text"),
    ],
)
def test_what_a_model_refuses_is_left_out_once(
    refused: dict[str, Response],
    corrections: int,
    absent: str,
    said: str,
    chat_service: Start,
    requests: Requests,
    journal: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    server = chat_service(rejecting(**refused))
    found = answers(service(server, reasoning_effort="low"), journal, requests(40, seed=3, stop=("END",)))
    assert endings(found) == ["stop"] * 40
    assert len(server.sent) == 40 + corrections
    assert all(absent not in body for body in server.bodies[corrections:])
    assert caplog.text.count(said) == 1


def test_a_renamed_length_and_a_dropped_temperature_together(
    chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(
        rejecting(max_tokens=refusal(UNSUPPORTED), temperature=refusal("'temperature' only supports 1"))
    )
    answers(service(server), journal, requests(30))
    assert len(server.sent) == 32
    assert server.bodies[-1]["max_completion_tokens"] == 50
    assert "temperature" not in server.bodies[-1]


def test_an_answer_may_be_shorter_than_asked_where_the_model_cannot_write_as_much(
    chat_service: Start, requests: Requests, journal: Path
) -> None:
    def reply(sent: Sent) -> Response:
        too_many = sent.body["max_tokens"] > 1024
        said = "max_tokens is too large: 4096. This model supports at most 1024 completion tokens."
        return refusal(said) if too_many else GOOD

    server = chat_service(reply)
    assert endings(answers(service(server), journal, requests(20, max_tokens=4096))) == ["stop"] * 20
    assert [body["max_tokens"] for body in server.bodies] == [4096, *[1024] * 20]


def test_a_model_without_a_system_role_gets_its_text_from_the_user(
    chat_service: Start, journal: Path
) -> None:
    def reply(sent: Sent) -> Response:
        system = sent.body["messages"][0]["role"] == "system"
        return refusal("System role not supported") if system else chat("fine")

    server = chat_service(reply)
    request = Request((Message("system", "Be brief."), Message("user", "Hello.")))
    answers(service(server), journal, [request])
    assert server.bodies[-1]["messages"] == [{"role": "user", "content": "Be brief.\n\nHello."}]


def test_a_refusal_that_names_nothing_concerns_the_request_alone(
    chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(lambda sent: refusal("no") if "query 1." in prompt_of(sent) else GOOD)
    found = answers(service(server), journal, requests(3))
    assert endings(found) == ["stop", "refused: HTTP 400 no", "stop"]
    assert len(server.sent) == 3


@pytest.mark.parametrize("effort", ["none", "default", "minimal", "xhigh"])
def test_any_reasoning_effort_reaches_any_service(
    effort: str, chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(lambda _: GOOD)
    answers(service(server, reasoning_effort=effort), journal, requests(1))
    groq = GroqLLM(model="qwen/qwen3-32b", base_url=server.url.removesuffix("/v1"), reasoning_effort=effort)
    answers(groq, journal.with_name("groq.jsonl"), requests(1))
    assert [body["reasoning_effort"] for body in server.bodies] == [effort, effort]


def test_the_default_effort_is_for_gpt_oss_alone() -> None:
    request = Request((Message("user", "x"),))
    bodies = [
        GroqLLM().chat_protocol().body(request, model) for model in ("openai/gpt-oss-20b", "qwen/qwen3-32b")
    ]
    assert ["reasoning_effort" in body for body in bodies] == [True, False]


def test_extra_body_reaches_the_service_and_has_a_journal_key_of_its_own(
    chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(lambda _: GOOD)
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 20}
    plain, more = service(server), service(server, extra_body=extra)
    answers(plain, journal, requests(1))
    answers(more, journal, requests(1))
    groq = GroqLLM(base_url=server.url.removesuffix("/v1"), extra_body=extra)
    answers(groq, journal.with_name("groq.jsonl"), requests(1))
    assert [{name: body.get(name) for name in extra} for body in server.bodies[1:]] == [extra, extra]
    assert plain.fingerprint() != more.fingerprint()


def test_a_refused_field_of_extra_body_ends_the_run_with_its_name(
    chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(rejecting(top_k=refusal("unknown field top_k")))
    with pytest.raises(EmbexpError, match=r"m refuses llm\.extra_body\.top_k"):
        answers(service(server, extra_body={"top_k": 5}), journal, requests(20))
    assert len(server.sent) == 1


def test_fields_that_embexp_sets_are_refused_in_extra_body() -> None:
    with pytest.raises(ConfigError, match=r"llm\.extra_body\.messages: embexp sets this field"):
        OpenAICompatibleLLM(model="m", base_url="http://x/v1", extra_body={"messages": []})


@pytest.mark.parametrize(
    "ending", ["/v1", "/v1/", "", "/v1/chat/completions", "/v1/chat/completions/", "/v1/v1"]
)
def test_the_address_may_end_in_any_of_the_usual_ways(
    ending: str, chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(lambda _: GOOD)
    answers(service(server, base_url=server.url.removesuffix("/v1") + ending), journal, requests(1))
    assert [sent.path for sent in server.sent] == ["/v1/chat/completions"]


def test_a_service_without_usage_and_without_a_key_is_counted_by_estimate(
    chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(lambda _: chat('{"queries": []}', usage={}))
    (found,) = answers(service(server), journal, requests(1))
    assert found.completion is not None
    assert found.completion.usage.completion_tokens == 4  # 15 bytes by four
    assert "authorization" not in server.sent[0].headers


# The text of an answer.


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (chat([{"type": "thinking", "thinking": []}, {"type": "text", "text": "fine"}]), "fine"),
        (chat(None, reasoning_content="fine"), "fine"),
        (chat("", reasoning="fine"), "fine"),
        (chat(None, finish="length", reasoning="on and on"), ""),
    ],
)
def test_the_text_is_found_where_the_server_puts_it(
    response: Response, text: str, chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(lambda _: response)
    (found,) = answers(service(server), journal, requests(1))
    assert found.completion is not None
    assert found.completion.text == text
    assert len(server.sent) == 1


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (
            Response({"error": "Unexpected endpoint or method. (POST /v1/x)"}),
            r"knows no such address .*llm\.base_url",
        ),
        (refusal("The model `x` is blocked at the organization level.", 403), r"does not serve m \(HTTP 403"),
        (
            refusal("Country not supported", 403),
            r"refuses the key in MY_KEY \(HTTP 403: Country not supported\)",
        ),
        (refusal("m is not a valid model ID"), "does not serve m"),
        (refusal("The API deployment does not exist.", 404, "DeploymentNotFound"), "does not serve m"),
        (Response("Method Not Allowed", 405), r"knows no such address \(HTTP 405"),
        (
            Response("", 301, {"location": "https://elsewhere/v1"}),
            "sends requests on to https://elsewhere/v1",
        ),
    ],
)
def test_what_no_request_gets_past_is_one_sentence_after_one_request(
    response: Response,
    said: str,
    chat_service: Start,
    requests: Requests,
    journal: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-1")
    server = chat_service(lambda _: response)
    with pytest.raises(EmbexpError, match=said):
        answers(service(server, api_key_env="MY_KEY"), journal, requests(20))
    assert len(server.sent) == 1


def test_a_service_that_wants_a_key_says_so(chat_service: Start, requests: Requests, journal: Path) -> None:
    server = chat_service(lambda _: refusal("You didn't provide an API key.", 401))
    with pytest.raises(EmbexpError, match=r"wants a key \(HTTP 401\) and none is given: .*llm\.api_key_env"):
        answers(service(server), journal, requests(3))


def test_an_error_that_comes_as_success_is_read_by_its_code(
    chat_service: Start, requests: Requests, journal: Path
) -> None:
    passing = [Response({"error": {"code": 502, "message": "Provider returned error"}})]
    server = chat_service(lambda _: passing.pop() if passing else GOOD)
    assert endings(answers(service(server), journal, requests(5))) == ["stop"] * 5
    assert len(server.sent) == 6


# Limits that cannot pass.

DAY = "Rate limit reached on tokens per day (TPD): Limit 100000, Used 99000. Please try again in 28m48s."
GEMINI_DAY = [
    {
        "error": {
            "code": 429,
            "message": "You exceeded your current quota. Please retry in 35.4s.",
            "details": [{"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}],
        }
    }
]


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (refusal(DAY, 429), r"limit is used up .*run the same command again from \d{4}-\d\d-\d\d \d\d:\d\d"),
        (Response(GEMINI_DAY, 429), r"limit is used up .*run the same command again from \d{4}"),
        (refusal("Rate limit exceeded: free-models-per-day", 429), "run the same command again tomorrow"),
        (refusal("You exceeded your current quota", 429, "insufficient_quota"), "no credit left"),
        (refusal("Insufficient Balance", 402), r"no credit left.*HTTP 402"),
    ],
)
def test_a_limit_that_cannot_pass_ends_the_run_with_what_is_kept(
    response: Response, said: str, chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(lambda sent: response if len(server.sent) > 5 else GOOD)
    with pytest.raises(EmbexpError, match=said) as caught:
        answers(service(server, max_concurrency=1), journal, requests(30))
    assert "All answers so far are kept" in str(caught.value)
    assert len(server.sent) == 6
    server.reply = lambda _: GOOD
    answers(service(server), journal, requests(30))
    assert len(server.sent) == 6 + 25  # the five that were answered are not asked again


def test_what_is_in_flight_when_a_limit_ends_the_run_is_kept(
    chat_service: Start, requests: Requests, journal: Path
) -> None:
    import time

    def reply(sent: Sent) -> Response:
        if "query 3." in prompt_of(sent):
            return refusal(DAY, 429)
        time.sleep(0.3)
        return GOOD

    server = chat_service(reply)
    with pytest.raises(EmbexpError, match="limit is used up"):
        answers(service(server), journal, requests(8))
    paid = len(server.sent) - 1
    assert len(list(records(journal))) == paid


@pytest.mark.parametrize("status", [413, 429])
def test_a_request_that_is_too_large_is_too_long_and_not_sent_again(
    status: int, chat_service: Start, requests: Requests, journal: Path
) -> None:
    said = "Request too large for m on tokens per min (TPM): Limit 800. The input must be reduced."
    server = chat_service(lambda sent: refusal(said, status, "rate_limit_exceeded"))
    assert endings(answers(service(server), journal, requests(4))) == ["too long"] * 4
    assert len(server.sent) == 4


@pytest.mark.parametrize(
    "message",
    [
        "Rate limit reached on requests per minute (RPM): Limit 30. Please try again in 0.05s.",
        "Requests have exceeded the call rate limit. Please retry after 0.05 seconds.",
        "You exceeded your current quota for metric: requests_per_minute. Please retry in 0.05s.",
    ],
)
def test_a_limit_of_a_minute_is_waited_for(
    message: str, chat_service: Start, requests: Requests, journal: Path
) -> None:
    first = [refusal(message, 429)]
    server = chat_service(lambda _: first.pop() if first else GOOD)
    assert endings(answers(service(server), journal, requests(3))) == ["stop"] * 3


def test_a_configured_limit_of_a_day_ends_the_run_when_it_is_spent(
    chat_service: Start, requests: Requests, journal: Path
) -> None:
    server = chat_service(lambda _: GOOD)
    with pytest.raises(EmbexpError, match=r"limit on requests or tokens is used up for now\. .*from \d{4}"):
        answers(service(server, requests_per_day=5), journal, requests(9))
    assert len(server.sent) == len(list(records(journal))) == 5


def test_answers_hold_what_was_read(chat_service: Start, requests: Requests, journal: Path) -> None:
    server = chat_service(lambda _: GOOD)
    (found,) = answers(service(server), journal, requests(1))
    assert found.completion is not None
    assert json.loads(found.completion.text) == {"queries": ["a", "b"]}
