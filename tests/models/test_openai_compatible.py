"""Models behind a service that speaks OpenAI's embeddings API."""

from __future__ import annotations

import base64
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from embexp.errors import ConfigError, EmbexpError, ModelError
from embexp.models.embedding_cache import EmbeddingCache
from embexp.models.encoder import SourceEmbedder
from embexp.models.openai_compatible import OpenAICompatibleModel
from embexp.package import conf_dir
from embexp.services.connection import service_address
from tests.llm.chat_server import Response, Sent, refusal
from tests.models.embeddings_server import KEY, EmbeddingService, embedding, embeddings, hashed

TEXTS = [f"text number {number}" for number in range(10)]
Reply = Callable[[Sent], Response]


def source(url: str, **options: Any) -> OpenAICompatibleModel:
    given = {"name": "m", "id": "m", "batch_size": 4, "backoff_seconds": 0.001, "timeout_seconds": 5.0}
    return OpenAICompatibleModel(base_url=url, **{**given, **options})


def embedder(url: str, cache: Path, **options: Any) -> SourceEmbedder:
    return SourceEmbedder(source(url, **options), EmbeddingCache(cache))


def unit(texts: Sequence[str]) -> Any:
    rows = np.array(hashed(texts))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def failure(reply: Reply, cache: Path, texts: Sequence[str] = TEXTS, **options: Any) -> str:
    with embedding(reply) as server, pytest.raises(EmbexpError) as raised:
        embedder(server.url, cache, **options).encode_passages(texts)
    return str(raised.value)


def test_vectors_have_unit_length_and_the_order_of_the_texts(tmp_path: Path) -> None:
    with embedding(EmbeddingService()) as server:
        model = embedder(server.url, tmp_path)
        vectors = model.encode_passages([*TEXTS, TEXTS[3]])

    np.testing.assert_allclose(vectors, unit([*TEXTS, TEXTS[3]]), atol=1e-6)
    assert vectors.dtype == np.float32
    assert [len(body["input"]) for body in server.bodies] == [4, 4, 2]
    assert server.sent[0].path == "/v1/embeddings"
    assert model.known == 0


def test_each_role_gets_its_prompt_and_requests_their_fields(tmp_path: Path) -> None:
    options = {"query_prompt": "q: ", "passage_prompt": "p: ", "dimensions": 4, "extra_body": {"user": "u"}}
    with embedding(EmbeddingService()) as server:
        model = embedder(server.url, tmp_path, **options)
        np.testing.assert_allclose(model.encode_queries(["a"]), unit(["q: a"]), atol=1e-6)
        np.testing.assert_allclose(model.encode_passages(["a"]), unit(["p: a"]), atol=1e-6)

    assert server.bodies == [
        {"model": "m", "input": [text], "dimensions": 4, "user": "u"} for text in ("q: a", "p: a")
    ]


def test_queries_and_passages_get_their_own_fields(tmp_path: Path) -> None:
    options = {
        "extra_body": {"truncation": True, "input_type": "none"},
        "query_body": {"input_type": "query"},
        "passage_body": {"input_type": "document"},
    }
    with embedding(EmbeddingService()) as server:
        model = embedder(server.url, tmp_path, **options)
        model.encode_queries(["a"])
        model.encode_passages(["a"])

    assert server.bodies == [
        {"model": "m", "input": ["a"], "truncation": True, "input_type": kind}
        for kind in ("query", "document")
    ]


def preset(name: str, **options: Any) -> OpenAICompatibleModel:
    """Return the model of an option file, with other settings than the file's where they are given."""
    record = yaml.safe_load((conf_dir() / "model" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert record.pop("_target_") == "embexp.models.OpenAICompatibleModel"
    return OpenAICompatibleModel(**{**record, **options})


@pytest.mark.parametrize(
    ("name", "key", "sent"),
    [
        ("openai_small", "OPENAI_API_KEY", ({}, {})),
        ("voyage", "VOYAGE_API_KEY", ({"input_type": "query"}, {"input_type": "document"})),
        ("cohere", "COHERE_API_KEY", ({"encoding_format": "float"}, {"encoding_format": "float"})),
    ],
)
def test_the_services_of_the_option_files_are_asked_in_their_way(
    name: str,
    key: str,
    sent: tuple[dict[str, Any], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(key, KEY)
    address = service_address(preset(name).base_url, group="model")
    assert address.url.startswith("https://")
    with embedding(EmbeddingService(key=KEY)) as server:
        model = SourceEmbedder(preset(name, base_url=server.url), EmbeddingCache(tmp_path))
        model.encode_queries(["a"])
        model.encode_passages(["a"])

    own = {"model": preset(name).id, "input": ["a"]}
    assert server.bodies == [{**own, **fields} for fields in sent]
    (price,) = [line for line in preset(name).estimate(texts=1, tokens=1_000_000) if line.startswith("price")]
    assert ("unknown" in price) == (preset(name).usd_per_million_tokens is None)


def test_known_texts_are_not_sent_again(tmp_path: Path) -> None:
    service = EmbeddingService()
    with embedding(service) as server:
        embedder(server.url, tmp_path).encode_passages(TEXTS)
        again = embedder(server.url, tmp_path)
        np.testing.assert_allclose(again.encode_passages([*TEXTS, "new"]), unit([*TEXTS, "new"]), atol=1e-6)

    assert again.known == 10
    assert set(service.answered.values()) == {1}


def test_the_length_of_a_vector_costs_one_text_once(tmp_path: Path) -> None:
    service = EmbeddingService()
    with embedding(service) as server:
        for _ in range(2):
            model = embedder(server.url, tmp_path)
            assert model.dimension == 4
            assert model.encode_passages([]).shape == (0, 4)

    assert sum(service.answered.values()) == 1


@pytest.mark.parametrize(
    ("text", "sent"), [("", " "), ("abcdef", "abcd"), ("a\ud800b", "a?b")], ids=["empty", "long", "surrogate"]
)
def test_odd_texts_are_sent_in_a_form_that_services_take(text: str, sent: str, tmp_path: Path) -> None:
    with embedding(EmbeddingService()) as server:
        embedder(server.url, tmp_path, max_characters=4).encode_passages([text])

    assert server.bodies[0]["input"] == [sent]


def test_unsorted_vectors_are_put_in_order(tmp_path: Path) -> None:
    with embedding(lambda sent: embeddings(hashed(sent.body["input"]), order=[2, 0, 3, 1])) as server:
        vectors = embedder(server.url, tmp_path).encode_passages(TEXTS[:4])

    np.testing.assert_allclose(vectors, unit(TEXTS[:4]), atol=1e-6)


def test_vectors_without_numbers_are_taken_as_they_come(tmp_path: Path) -> None:
    def reply(sent: Sent) -> Response:
        return Response({"data": [{"embedding": row} for row in hashed(sent.body["input"])]})

    with embedding(reply) as server:
        vectors = embedder(server.url, tmp_path).encode_passages(TEXTS)

    np.testing.assert_allclose(vectors, unit(TEXTS), atol=1e-6)


def test_base64_is_read(tmp_path: Path) -> None:
    def reply(sent: Sent) -> Response:
        rows = hashed(sent.body["input"])
        return embeddings([base64.b64encode(struct.pack("<4f", *row)).decode() for row in rows])

    with embedding(reply) as server:
        vectors = embedder(server.url, tmp_path).encode_passages(TEXTS)

    np.testing.assert_allclose(vectors, unit(TEXTS), atol=1e-6)


UNUSABLE = {
    "fewer": (lambda rows: rows[:-1], "it holds 3 vectors for 4 texts"),
    "more": (lambda rows: [*rows, rows[0]], "it holds 5 vectors for 4 texts"),
    "nan": (lambda rows: [[float("nan")] * 4, *rows[1:]], "not finite (NaN)"),
    "null": (lambda rows: [[None, 1, 1, 1], *rows[1:]], "not finite (NaN)"),
    "huge": (lambda rows: [[float("inf")] * 4, *rows[1:]], "not finite (NaN)"),
    "zeros": (lambda rows: [[0.0] * 4, *rows[1:]], "nothing but zeros"),
    "ragged": (lambda rows: [rows[0][:2], *rows[1:]], "lengths from 2 to 4"),
    "empty": (lambda rows: [[] for _ in rows], "lengths from 0 to 0"),
    "words": (lambda rows: [["a", "b"], *rows[1:]], "a vector cannot be read"),
    "number": (lambda rows: [7, *rows[1:]], "a vector is '7' and no list of numbers"),
    "nested": (lambda rows: [[rows[0]], *rows[1:]], "no list of numbers"),
    "base64": (lambda rows: ["not base64!", *rows[1:]], "a vector cannot be read"),
    "half": (lambda rows: ["AAAA", *rows[1:]], "a vector cannot be read"),
}


@pytest.mark.parametrize(("spoil", "said"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_answers_are_paid_for_three_times_at_most(
    spoil: Callable[[Any], Any], said: str, tmp_path: Path
) -> None:
    with embedding(lambda sent: embeddings(spoil(hashed(sent.body["input"])))) as server:
        with pytest.raises(ModelError, match="after 3 attempts") as raised:
            embedder(server.url, tmp_path).encode_passages(TEXTS[:4])
        assert len(server.sent) == 3

    assert said in str(raised.value)
    assert "lower model.batch_size" in str(raised.value)


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        ([0, 0, 1, 2], "numbered 0, 0, 1, 2 and not 0 to 3"),
        ([1, 2, 3, 4], "1, 2, 3, 4"),
        ([0, 1, None, "3"], "0, 1"),
    ],
)
def test_wrong_numbers_of_vectors_are_refused(indices: list[Any], said: str, tmp_path: Path) -> None:
    def reply(sent: Sent) -> Response:
        rows = hashed(sent.body["input"])
        return Response(
            {"data": [{"index": at, "embedding": row} for at, row in zip(indices, rows, strict=True)]}
        )

    assert said in failure(reply, tmp_path, TEXTS[:4])


@pytest.mark.parametrize("body", [{}, [], {"data": {}}, {"data": [1]}, {"embeddings": [[1.0]]}, b"<html>"])
def test_an_answer_of_another_kind_is_refused(body: object, tmp_path: Path) -> None:
    assert "Check that model.id is an embedding model" in failure(lambda _: Response(body), tmp_path)


def test_a_spoiled_answer_is_asked_for_again(tmp_path: Path) -> None:
    service, spoiled = EmbeddingService(), [1, 3]

    def reply(sent: Sent) -> Response:
        good = service(sent)
        return embeddings([[float("nan")] * 4] * 4) if service.requests in spoiled else good

    with embedding(reply) as server:
        np.testing.assert_allclose(
            embedder(server.url, tmp_path).encode_passages(TEXTS), unit(TEXTS), atol=1e-6
        )


def test_another_length_than_the_configured_one_is_refused_at_once(tmp_path: Path) -> None:
    service = EmbeddingService()
    said = failure(service, tmp_path, dimensions=3)

    assert "model.dimensions=3, and m gives vectors of 4" in said
    assert "model.dimensions=null" in said
    assert service.requests == 1


def test_vectors_that_change_their_length_are_refused_and_the_rest_is_kept(tmp_path: Path) -> None:
    def reply(sent: Sent) -> Response:
        return embeddings(hashed(sent.body["input"], width=4 if TEXTS[0] in sent.body["input"] else 5))

    with embedding(reply) as server:
        model = embedder(server.url, tmp_path)
        with pytest.raises(ModelError, match="gave vectors of 4 numbers and now of 5"):
            model.encode_passages(TEXTS)
        assert EmbeddingCache(tmp_path).known(model.fingerprint, "passage", TEXTS) == 4
        with pytest.raises(EmbexpError, match="dimension 4, but the model gives 5"):
            embedder(server.url, tmp_path).encode_passages(TEXTS)
        assert EmbeddingCache(tmp_path).known(model.fingerprint, "passage", TEXTS) == 4


REFUSALS = {
    "error in a 200": (
        Response({"error": {"message": "no such user", "code": 400}}),
        "no such user",
        "model.id",
    ),
    "key": (
        refusal(f"Incorrect API key provided: {KEY}", 401),
        "refuses the key in EMBEDDINGS_KEY",
        "run the same",
    ),
    "key in a 200": (
        Response({"error": {"message": f"bad {KEY}", "code": 401}}),
        "EMBEDDINGS_KEY",
        "check the key",
    ),
    "credit": (refusal("quota", 429, "insufficient_quota"), "no credit left", "All answers so far are kept"),
    "day": (refusal("Limit of requests per day reached", 429), "limit is used up", "it goes on from there"),
    "hours": (Response({}, 429, {"retry-after": "7200"}), "limit is used up", "it goes on from there"),
    "model": (refusal("The model `m` does not exist", 404, "model_not_found"), "has no model m", "model.id"),
    "address": (refusal("Not Found", 404), "no such address", "model.base_url, the address up to /v1"),
    "moved": (
        Response("", 308, {"location": "https://else.where/v1"}),
        "https://else.where",
        "model.base_url",
    ),
    "field": (
        refusal("This model does not support dimensions", 400),
        "refuses a request",
        "model.dimensions",
    ),
    "down": (refusal("overloaded", 503), "after 2 attempts: HTTP 503 overloaded", "model.timeout_seconds"),
    "rate": (refusal("slow down", 429), "after 8 attempts: HTTP 429", "lower model.requests_per_minute"),
}


@pytest.mark.parametrize(("response", "said", "remedy"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_names_the_cause_and_the_remedy_but_no_key(
    response: Response, said: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDINGS_KEY", KEY)
    message = failure(lambda _: response, tmp_path, api_key_env="EMBEDDINGS_KEY", max_attempts=2)

    assert said in message
    assert remedy in message
    assert KEY not in message
    assert "llm" not in message


def test_a_service_without_a_key_that_wants_one_names_the_setting(tmp_path: Path) -> None:
    assert "model.api_key_env" in failure(EmbeddingService(key=KEY), tmp_path)


def test_a_quota_that_ends_half_way_loses_nothing(tmp_path: Path) -> None:
    service = EmbeddingService(quota=2)
    with embedding(service) as server:
        with pytest.raises(EmbexpError, match=r"no credit left.*All answers so far are kept"):
            embedder(server.url, tmp_path).encode_passages(TEXTS)
        service.quota = None
        vectors = embedder(server.url, tmp_path).encode_passages(TEXTS)

    np.testing.assert_allclose(vectors, unit(TEXTS), atol=1e-6)
    assert set(service.answered.values()) == {1}


HALF_WAY: dict[str, tuple[Reply, str]] = {
    "down": (lambda _: refusal("overloaded", 503), "after 2 attempts: HTTP 503 overloaded"),
    "another length": (lambda sent: embeddings(hashed(sent.body["input"], width=7)), "now of 7"),
    "nan": (lambda sent: embeddings([[float("nan")] * 4 for _ in sent.body["input"]]), "not finite (NaN)"),
    "fewer": (lambda sent: embeddings(hashed(sent.body["input"])[1:]), "it holds 3 vectors for 4 texts"),
    "numbers": (
        lambda sent: Response({"data": [{"index": 7, "embedding": [1.0]} for _ in sent.body["input"]]}),
        "numbered 7",
    ),
    "base64": (lambda sent: embeddings(["no base64!" for _ in sent.body["input"]]), "cannot be read"),
    "error in a 200": (lambda _: Response({"error": {"message": "none", "code": 400}}), "model.id"),
    "key": (lambda _: refusal(f"Incorrect API key {KEY}", 401), "refuses the key in EMBEDDINGS_KEY"),
    "too long": (lambda _: refusal("maximum context length is 8 tokens", 400), "model.max_characters"),
    "quota": (lambda _: refusal("quota", 429, "insufficient_quota"), "no credit left"),
    "day": (lambda _: refusal("Limit of requests per day reached", 429), "limit is used up"),
}


@pytest.mark.parametrize(("failure", "said"), HALF_WAY.values(), ids=HALF_WAY)
def test_what_fails_half_way_is_one_sentence_and_nothing_is_paid_for_twice(
    failure: Reply, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDINGS_KEY", KEY)
    service, broken = EmbeddingService(), True

    def reply(sent: Sent) -> Response:
        return failure(sent) if broken and service.requests >= 1 else service(sent)

    options = {"api_key_env": "EMBEDDINGS_KEY", "max_attempts": 2}
    with embedding(reply) as server:
        first = embedder(server.url, tmp_path, **options)
        with pytest.raises(EmbexpError, match=r"^[^\n]*$") as raised:  # which commands end with, and code 2
            first.encode_passages(TEXTS)
        assert EmbeddingCache(tmp_path).known(first.fingerprint, "passage", TEXTS) == 4
        broken = False
        vectors = embedder(server.url, tmp_path, **options).encode_passages(TEXTS)

    assert said in str(raised.value)
    assert KEY not in str(raised.value)
    np.testing.assert_allclose(vectors, unit(TEXTS), atol=1e-6)
    assert service.answered == dict.fromkeys(TEXTS, 1)


def test_faults_are_survived_and_no_text_is_embedded_twice(tmp_path: Path) -> None:
    service = EmbeddingService(faults=0.2)
    texts = [f"text {number}" for number in range(200)]
    with embedding(service) as server:
        vectors = embedder(server.url, tmp_path).encode_passages(texts)

    np.testing.assert_allclose(vectors, unit(texts), atol=1e-6)
    assert service.requests > 55  # 50 requests, and those that failed
    assert service.answered == dict.fromkeys(texts, 1)


@pytest.mark.parametrize("most", [1, 3])
def test_requests_become_smaller_where_the_service_refuses_their_size(most: int, tmp_path: Path) -> None:
    service = EmbeddingService()

    def reply(sent: Sent) -> Response:
        count = len(sent.body["input"])
        if count > most:
            return refusal(f"batch size {count} > maximum allowed batch size {most}", 422)
        return service(sent)

    with embedding(reply) as server:
        model = embedder(server.url, tmp_path)
        np.testing.assert_allclose(model.encode_passages(TEXTS), unit(TEXTS), atol=1e-6)

    assert service.answered == dict.fromkeys(TEXTS, 1)
    assert model.known == 0


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (refusal("This model's maximum context length is 8 tokens", 400), "Set model.max_characters to cut"),
        (refusal("Payload too large", 413), "model.max_tokens"),
        (refusal("flagged by our content filter", 400, "content_filter"), "Take it out of your documents"),
    ],
)
def test_a_text_that_is_refused_is_named_and_all_others_before_it_are_kept(
    response: Response, said: str, tmp_path: Path
) -> None:
    service = EmbeddingService()
    with embedding(lambda sent: response if TEXTS[6] in sent.body["input"] else service(sent)) as server:
        model = embedder(server.url, tmp_path)
        with pytest.raises(ModelError, match=said) as raised:
            model.encode_passages(TEXTS)

    assert "'text number 6' (13 characters)" in str(raised.value)
    assert EmbeddingCache(tmp_path).known(model.fingerprint, "passage", TEXTS) == 6
    assert service.answered == dict.fromkeys(TEXTS[:6], 1)


def test_a_service_that_is_down_is_named_soon(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ModelError, match=r"nothing listens at 127.0.0.1.*Start the service") as raised:
        embedder(f"http://127.0.0.1:{port}", tmp_path).encode_queries(["a"])

    assert "after 3 attempts" in str(raised.value)


def test_a_slow_service_ends_the_run_in_time(tmp_path: Path) -> None:
    def reply(_: Sent) -> Response:
        time.sleep(1.0)
        return embeddings([[1.0]])

    said = failure(reply, tmp_path, timeout_seconds=0.05, max_attempts=2)
    assert "no answer from 127.0.0.1" in said
    assert "raise model.timeout_seconds or lower model.batch_size" in said


def test_a_limit_of_requests_spaces_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    with embedding(EmbeddingService()) as server:
        model = embedder(server.url, tmp_path, requests_per_minute=2)
        monkeypatch.setattr("embexp.models.embeddings_client.time.sleep", sleep)
        monkeypatch.setattr("embexp.models.embeddings_client.time.monotonic", lambda: now[0])
        model.encode_passages(TEXTS)

    assert sum(waits) == pytest.approx(60.5, abs=0.1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base_url": "localhost:80"}, "model.base_url=localhost:80: give an address with http"),
        ({"base_url": "http://a:99999/v1"}, "model.base_url=http://a:99999/v1: the port"),
        ({"extra_body": {"input": []}}, "model.extra_body.input: embexp sets this field"),
        ({"extra_body": {"dimensions": 3}}, "use model.dimensions"),
        ({"query_body": {"model": "x"}}, "model.query_body.model: embexp sets this field"),
        ({"passage_body": {"input": []}}, "model.passage_body.input: embexp sets this field"),
        ({"batch_size": 0}, "model.batch_size is 0"),
        ({"dimensions": 0}, "model.dimensions is 0"),
        ({"usd_per_million_tokens": -1.0}, "model.usd_per_million_tokens is -1.0"),
    ],
)
def test_a_mistake_in_the_settings_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        source(
            **{
                "url": "http://localhost",
                **{("url" if k == "base_url" else k): v for k, v in options.items()},
            }
        )

    assert said in str(raised.value)


def test_a_missing_key_is_named_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBEDDINGS_KEY", raising=False)
    with pytest.raises(
        ConfigError, match=r"model.api_key_env=EMBEDDINGS_KEY: this environment variable is not set"
    ):
        source("http://localhost", api_key_env="EMBEDDINGS_KEY").check()


def test_the_fingerprint_changes_with_what_shapes_a_vector_alone() -> None:
    base = source("http://a/v1").fingerprint()
    same = [{"batch_size": 9}, {"name": "n"}, {"api_key_env": "K"}, {"timeout_seconds": 9.0}]
    others = [
        {"id": "n"},
        {"dimensions": 3},
        {"query_prompt": "q"},
        {"passage_prompt": "p"},
        {"max_characters": 9},
        {"query_body": {"x": 1}},
        {"passage_body": {"x": 1}},
    ]

    assert {source("http://a/v1/embeddings", **options).fingerprint() for options in same} == {base}
    changed = {source("http://a/v1", **options).fingerprint() for options in others}
    changed |= {source("http://b/v1").fingerprint(), source("http://a/v1", extra_body={"x": 1}).fingerprint()}
    assert len(changed) == 9
    assert base not in changed


def test_tokens_are_estimated_by_bytes() -> None:
    counter = source("http://a", max_tokens=100, passage_prompt="passage:").tokens()

    assert counter.limit == 98
    assert counter.count(["", "abcd", "abcde", "ä" * 8]) == [0, 1, 2, 4]


def test_the_price_is_estimated() -> None:
    lines = source("http://a", usd_per_million_tokens=0.5, requests_per_minute=10).estimate(
        texts=401, tokens=3_000_000
    )

    assert lines == [
        "requests: 101 of up to 4 texts",
        "tokens: about 3,000,000",
        "price: 1.5000 US$, at 0.5 US$ per million tokens (model.usd_per_million_tokens)",
        "time: at least 10 min at the configured limits",
    ]
    assert "price: unknown (give it in model.usd_per_million_tokens)" in source("http://a").estimate(
        texts=1, tokens=1
    )


def test_weights_cannot_be_loaded() -> None:
    with pytest.raises(ModelError, match="m is a model behind http://a, whose weights cannot be loaded"):
        source("http://a").load()


def test_a_service_is_no_teacher_of_vectors() -> None:
    from embexp.finetuning.teachers.models import BiEncoderTeacher

    with pytest.raises(ConfigError, match="The teacher's model m is behind a service"):
        BiEncoderTeacher(model=source("http://a"))


def priced(url: str, cache: Path, budget: float | None, **options: Any) -> SourceEmbedder:
    """Return an embedder of a service that asks a US dollar for each token."""
    return embedder(url, cache, usd_per_million_tokens=1e6, budget_usd=budget, **options)


def counted(sent: Sent) -> Response:
    """Answer with a token for each text."""
    texts = sent.body["input"]
    return embeddings(hashed(texts), usage={"total_tokens": len(texts)})


def test_a_budget_ends_the_run_before_it_is_exceeded_and_counts_earlier_runs(tmp_path: Path) -> None:
    with embedding(counted) as server:
        first = priced(server.url, tmp_path, 62.0)
        first.encode_passages(TEXTS[:4])  # 4 texts of 13 bytes: up to 52 tokens, and 4 were used
        with pytest.raises(EmbexpError, match=r"model.budget_usd=62 is used up: 8.0000 US\$") as raised:
            priced(server.url, tmp_path, 62.0).encode_passages([*TEXTS[4:8], "a" * 60])
        assert len(server.sent) == 2
        more = priced(server.url, tmp_path, 70.0)
        more.encode_passages([*TEXTS[4:8], "a" * 60])
        assert more.known == 4

    assert "the next request may cost up to 60.0000" in str(raised.value)
    assert "set a higher model.budget_usd and run the same command again" in str(raised.value)
    assert len(server.sent) == 3


def test_a_lost_answer_counts_with_the_most_and_a_refusal_with_nothing(tmp_path: Path) -> None:
    refused = iter([refusal("overloaded", 503), refusal("slow down", 429)])

    def reply(sent: Sent) -> Response:
        return next(refused, None) or counted(sent)

    with embedding(reply) as server:
        priced(server.url, tmp_path, 53.0).encode_passages(TEXTS[:4])
        assert len(server.sent) == 3
    given_up = threading.Event()
    with embedding(lambda _: embeddings([[float(given_up.wait(60))]])) as slow:
        with pytest.raises(EmbexpError, match=r"model.budget_usd=60 is used up: 52.0000 US"):
            priced(slow.url, tmp_path, 60.0, timeout_seconds=1.0).encode_passages(TEXTS[:4])
        assert len(slow.sent) == 1
        given_up.set()


def test_an_answer_that_cannot_be_used_is_charged(tmp_path: Path) -> None:
    def reply(sent: Sent) -> Response:
        return embeddings([[float("nan")]] * len(sent.body["input"]), usage={"total_tokens": 30})

    with embedding(reply) as server:
        with pytest.raises(EmbexpError, match=r"used up: 30.0000 US"):
            priced(server.url, tmp_path, 80.0).encode_passages(TEXTS[:4])
        assert len(server.sent) == 1


def test_a_torn_record_of_spending_is_one_request_at_most(tmp_path: Path) -> None:
    with embedding(counted) as server:
        priced(server.url, tmp_path, None).encode_passages(TEXTS[:4])
        (record,) = tmp_path.glob("*.spending.jsonl")
        record.write_bytes(record.read_bytes() + b'{"id": "x", "tok\n')
        priced(server.url, tmp_path, 57.0).encode_passages(TEXTS[4:8])
        assert len(server.sent) == 2


def test_a_budget_needs_a_price() -> None:
    with pytest.raises(ConfigError, match=r"model.budget_usd=5 cannot be kept: the price of m is not known"):
        source("http://a", budget_usd=5.0)
