"""Asking a service for vectors: one request at a time, paced, tried again, and every answer checked."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embexp.errors import EmbexpError, ModelError
from embexp.models.spending import Price, Spending
from embexp.services.connection import Address, connection_error
from embexp.services.limits import MINUTE, Meter, limit_in_message, observed_limit
from embexp.services.request_errors import (
    FilteredError,
    ModelGoneError,
    RejectedError,
    RequestError,
    RetryableError,
    TooLongError,
    UnreachableError,
    limit_spent,
    raise_error_of,
    request_error,
)

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from embexp.models.vector_files import Vectors

log = logging.getLogger(__name__)

BYTES_PER_TOKEN = 4
"""About what a token of English takes in UTF-8; what was really used is read from the answers."""
MOST_UNUSABLE = 3
"""How often the same texts are paid for while no answer can be used."""
MOST_UNREACHED = 3
"""Attempts at an address where nothing has ever answered."""
RATE_PATIENCE = 4
"""How many times as many refusals for the rate are accepted as failures."""
SPENT_WAIT = 3600.0
"""A limit that allows nothing for longer than this ends the run: the rest is for another day."""
LONG_WAIT = 20.0
LONGEST_PAUSE = 60.0
QUOTED = 60
KEPT = "All vectors so far are kept: run the same command again to resume."
_NO_FIELDS: Mapping[str, Any] = {}
_BATCH_WORDS = ("batch", "array", "input")


class BatchRefusedError(Exception):
    """The service refuses a request of several texts, and may take fewer of them at a time.

    Args:
        size: The number of texts of the request.
    """

    def __init__(self, size: int) -> None:
        super().__init__(f"The service refuses {size} texts in one request.")
        self.size = size


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where vectors come from, and how its requests look; see ``OpenAICompatibleModel`` for the fields."""

    address: Address
    model: str
    dimensions: int | None
    extra_body: Mapping[str, Any]
    key_name: str | None
    key: str
    key_header: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    timeout_seconds: float
    max_attempts: int
    backoff_seconds: float


class EmbeddingsClient:
    """Sends texts to ``/embeddings``; requests follow each other, so that each answer can be stored first.

    Args:
        endpoint: The service.
        spending: Where the tokens of requests are recorded, and kept within a budget; None for nowhere.
    """

    def __init__(self, endpoint: Endpoint, spending: Spending | None = None) -> None:
        import httpx

        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._endpoint = endpoint
        self._spending = spending or Spending(None, Price())
        self._dimension = endpoint.dimensions
        self._answered = False
        self._requests = Meter(endpoint.requests_per_minute, MINUTE)
        self._tokens = Meter(endpoint.tokens_per_minute, MINUTE)
        bearer = endpoint.key_header.lower() == "authorization"
        key = f"Bearer {endpoint.key}" if bearer else endpoint.key
        self._http = httpx.Client(
            base_url=endpoint.address.url,
            headers={endpoint.key_header: key} if endpoint.key else {},
            params=dict(endpoint.address.parameters),
            timeout=endpoint.timeout_seconds,
        )

    def embed(self, texts: Sequence[str], *, fields: Mapping[str, Any] = _NO_FIELDS) -> Vectors:
        """Return the unit vectors of some texts, which go into one request.

        Args:
            texts: At least one; the prompts are before them.
            fields: Further fields of this request, such as those for queries.

        Raises:
            BatchRefusedError: The service may take fewer texts at a time.
            EmbexpError: It gives no vectors; the message says why, and what to do.
        """
        from tenacity import Retrying, retry_if_exception_type

        attempts = _Attempts(self._endpoint, answered=self._answered)
        retrying = Retrying(
            retry=retry_if_exception_type(RetryableError),
            wait=attempts.wait,
            stop=attempts.stop,
            reraise=True,
            sleep=time.sleep,
        )
        try:
            vectors: Vectors = retrying(self._ask, texts, fields)
        except RequestError as error:
            raise self._explained(error, texts, attempts) from error
        self._answered = True
        return vectors

    def _ask(self, texts: Sequence[str], fields: Mapping[str, Any]) -> Vectors:
        """Send one request and read its answer.

        No text has more tokens than bytes: the budget allows for so many until the answer tells.
        """
        estimated = sum(tokens_of(text) for text in texts)
        self._wait(estimated)
        sent = self._spending.send(sum(map(bytes_of, texts)))
        now = time.monotonic()
        permits = (self._requests.charge(1.0, now), self._tokens.charge(float(estimated), now))
        headers: Mapping[str, str] = {}
        used = float(estimated)
        try:
            payload, headers = self._post(texts, fields)
            used = _used_tokens(payload) or used
            self._raise_error_in(payload, headers)
            vectors = vectors_of(payload, len(texts))
        except RetryableError as error:
            headers = error.headers or headers
            self._learn_refusal(error)
            if error.charged is not None:
                self._spending.settle(sent, used if error.charged else 0.0)
            raise
        except (RequestError, EmbexpError):
            self._spending.settle(sent, 0.0)
            raise
        else:
            self._spending.settle(sent, used)
        finally:
            now = time.monotonic()
            self._requests.settle(permits[0], 1.0, now)
            self._tokens.settle(permits[1], used, now)
            for resource, meter, permit in zip(
                ("requests", "tokens"), (self._requests, self._tokens), permits, strict=True
            ):
                observed = observed_limit(headers, resource)
                if observed is not None and not observed.is_daily:
                    meter.learn(observed, permit.mark, now)
        return self._unit(vectors)

    def _post(self, texts: Sequence[str], fields: Mapping[str, Any]) -> tuple[object, Mapping[str, str]]:
        import httpx

        end = self._endpoint
        # A lone surrogate cannot be sent as UTF-8.
        sendable = [text.encode("utf-8", errors="replace").decode("utf-8") for text in texts]
        body = {"model": end.model, "input": sendable, **end.extra_body, **fields}
        if end.dimensions is not None:
            body["dimensions"] = end.dimensions
        url = end.address.url
        deadline = time.monotonic() + end.timeout_seconds
        content = b""
        try:
            with self._http.stream("POST", "embeddings", json=body) as response:
                for part in response.iter_bytes():
                    content += part
                    if time.monotonic() > deadline:  # httpx's limit is for each piece of the answer alone
                        raise httpx.ReadTimeout("the answer is not complete")
        except httpx.HTTPError as error:
            raise connection_error(error, url, group="model") from error
        try:
            payload: object = json.loads(content)
        except ValueError as error:
            if response.status_code < 300:
                raise RetryableError("the answer cannot be read as JSON", charged=True) from error
            payload = content.decode("utf-8", errors="replace")
        if response.status_code >= 300:
            raise request_error(
                response.status_code,
                payload,
                response.headers,
                key_name=end.key_name,
                secret=end.key,
                group="model",
            )
        return payload, response.headers

    def _raise_error_in(self, payload: object, headers: Mapping[str, str]) -> None:
        """Raise the error that came in place of an answer, with HTTP 200."""
        raise_error_of(
            payload, headers, key_name=self._endpoint.key_name, secret=self._endpoint.key, group="model"
        )

    def _unit(self, vectors: Vectors) -> Vectors:
        """Return vectors of unit length, after a check that they are as long as those before."""
        import numpy as np

        width = vectors.shape[1]
        if self._endpoint.dimensions is not None and width != self._endpoint.dimensions:
            raise ModelError(
                f"model.dimensions={self._endpoint.dimensions}, and {self._endpoint.model} gives vectors of "
                f"{width}: it has no such length, or its service ignores the field. Set "
                "model.dimensions=null to take them as they come."
            )
        if self._dimension is not None and width != self._dimension:
            raise ModelError(
                f"{self._endpoint.model} gave vectors of {self._dimension} numbers and now of {width}: the "
                f"model behind {_host(self._endpoint)} has changed, and vectors of two models cannot be "
                "compared: see that one model alone answers, and run again with paths.cache=FOLDER, a new "
                "folder."
            )
        self._dimension = width
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: Vectors = (vectors / lengths).astype(np.float32)
        return unit

    def _wait(self, tokens: int) -> None:
        """Wait until a request fits into the limits.

        Raises:
            EmbexpError: They allow nothing for hours.
        """
        while True:
            now = time.monotonic()
            wait = max(self._requests.wait(1.0, now), self._tokens.wait(float(tokens), now))
            if wait > SPENT_WAIT:
                raise limit_spent("The limit on requests or tokens is used up for now", wait)
            if wait <= 0:
                return
            if wait >= LONG_WAIT:
                log.warning("Waiting %.0f s for the service's limit on requests or tokens.", wait)
            time.sleep(wait + 0.001)

    def _learn_refusal(self, error: RetryableError) -> None:
        limit = limit_in_message(str(error)) if error.kind == "rate" else None
        meter = {"RPM": self._requests, "TPM": self._tokens}.get(limit[0]) if limit else None
        if limit and meter is not None:
            meter.learn_limit(limit[1], time.monotonic())

    def _explained(self, error: RequestError, texts: Sequence[str], attempts: _Attempts) -> Exception:
        """Return the sentence for a request that has no answer, or ask for a smaller one."""
        name, text = self._endpoint.model, texts[0]
        shown = f"{' '.join(text.split())[:QUOTED]!r} ({len(text):,} characters)"
        batch = isinstance(error, RejectedError) and (
            "input" in error.named or any(word in str(error).lower() for word in _BATCH_WORDS)
        )
        if len(texts) > 1 and (batch or isinstance(error, TooLongError | FilteredError)):
            return BatchRefusedError(len(texts))
        match error:
            case TooLongError():
                return ModelError(
                    f"{name} does not take the text {shown}, which is above its limit: {error}. Set "
                    "model.max_characters to cut such texts, or model.max_tokens to the model's limit, which "
                    f"documents are cut to fit. {KEPT}"
                )
            case FilteredError():
                return ModelError(
                    f"The content filter of the service refuses the text {shown}: {error}. Take it out of "
                    f"your documents, or choose another service. {KEPT}"
                )
            case ModelGoneError():
                return ModelError(
                    f"{_host(self._endpoint)} has no model {name}, or not for you: {error}. Check model.id "
                    "and model.base_url."
                )
            case RetryableError():
                return ModelError(attempts.sentence(error, _host(self._endpoint)))
            case _:
                return ModelError(
                    f"{name} refuses a request: {error}. Check model.id, model.dimensions, model.extra_body "
                    f"and, for the text {shown}, model.max_characters. {KEPT}"
                )


class _Attempts:
    """When the same texts are sent again, and when no more."""

    def __init__(self, endpoint: Endpoint, *, answered: bool) -> None:
        from tenacity import wait_random_exponential

        self._endpoint = endpoint
        self._answered = answered
        self._failed = self._unusable = self._limited = self._unreached = 0
        self._pause = wait_random_exponential(multiplier=endpoint.backoff_seconds, max=LONGEST_PAUSE)

    def wait(self, state: RetryCallState) -> float:
        """Return the seconds that the service asks for, else a growing, jittered pause."""
        problem = state.outcome.exception() if state.outcome else None
        asked = problem.wait if isinstance(problem, RetryableError) else None
        wait = float(self._pause(state)) if asked is None else asked
        if wait >= LONG_WAIT:
            log.warning("Waiting %.0f s (%s).", wait, problem)
        return wait

    def stop(self, state: RetryCallState) -> bool:
        """Count a failure, and return whether it is the last that is accepted.

        Raises:
            EmbexpError: The service asks to come back in hours.
        """
        problem = state.outcome.exception() if state.outcome else None
        if not isinstance(problem, RetryableError):
            return True
        if problem.wait is not None and problem.wait > SPENT_WAIT:
            raise limit_spent(f"The service's limit is used up ({problem})", problem.wait)
        self._limited += problem.kind == "rate"
        self._failed += problem.kind != "rate"
        self._unusable += problem.charged is True
        self._unreached += isinstance(problem, UnreachableError) and not self._answered
        most = self._endpoint.max_attempts
        return (
            self._failed >= most
            or self._unusable >= min(MOST_UNUSABLE, most)
            or self._unreached >= min(MOST_UNREACHED, most)
            or self._limited >= RATE_PATIENCE * most
        )

    def sentence(self, error: RetryableError, host: str) -> str:
        """Return what to say when it was the last."""
        times = self._failed + self._limited
        tried = f"after {times} attempt{'s' if times > 1 else ''}"
        if isinstance(error, UnreachableError):
            return (
                f"No vectors from {host} {tried}: {error}. Start the service, or check model.base_url. {KEPT}"
            )
        if error.charged is True:
            return (
                f"The answers of {host} cannot be used, {tried}: {error}. Check that model.id is an "
                f"embedding model, or lower model.batch_size. {KEPT}"
            )
        advice = "wait until it answers"
        if error.kind == "rate":
            advice = "lower model.requests_per_minute or model.tokens_per_minute"
        elif error.kind == "overload":
            advice = "raise model.timeout_seconds or lower model.batch_size"
        return f"No vectors from {host} {tried}: {error}. You may {advice}. {KEPT}"


def vectors_of(payload: object, count: int) -> Vectors:
    """Return the vectors of an answer in the order of the texts, float64, shape (count, dimension).

    Args:
        payload: The decoded body.
        count: The number of texts.

    Raises:
        RetryableError: The answer is not one vector, of finite numbers, for each text.
    """
    import numpy as np

    data = payload.get("data") if isinstance(payload, Mapping) else None
    if not isinstance(data, list) or not all(isinstance(entry, Mapping) for entry in data):
        raise RetryableError(f"the answer holds no vectors: {str(payload)[:QUOTED]!r}", charged=True)
    if len(data) != count:
        raise RetryableError(f"it holds {len(data)} vectors for {count} texts", charged=True)
    rows = [_row(entry.get("embedding")) for entry in _in_order(data)]
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1 or not widths[0]:
        raise RetryableError(f"its vectors have lengths from {widths[0]} to {widths[-1]}", charged=True)
    vectors: Vectors = np.stack(rows)
    if not np.isfinite(vectors).all():
        raise RetryableError("a vector holds a number that is not finite (NaN)", charged=True)
    if not vectors.any(axis=1).all():
        raise RetryableError("a vector holds nothing but zeros", charged=True)
    return vectors


def _in_order(data: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the entries of an answer by their ``index``; as they come where none has one."""
    places = [entry.get("index") for entry in data]
    if all(place is None for place in places):
        return list(data)
    numbers = sorted(place for place in places if type(place) is int)
    if numbers != list(range(len(data))):
        raise RetryableError(
            f"its vectors are numbered {', '.join(map(str, places[:5]))} and not 0 to {len(data) - 1}",
            charged=True,
        )
    return sorted(data, key=lambda entry: int(entry["index"]))


def _row(embedding: object) -> Any:
    """Return one vector, which is a list of numbers or, in base64, their bytes as float32."""
    import numpy as np

    try:
        if isinstance(embedding, str):
            return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float64)
        if isinstance(embedding, list):
            row = np.asarray(embedding, dtype=np.float64)
            if row.ndim == 1:
                return row
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        raise RetryableError(f"a vector cannot be read ({error})", charged=True) from error
    raise RetryableError(f"a vector is {str(embedding)[:QUOTED]!r} and no list of numbers", charged=True)


def _used_tokens(payload: object) -> float:
    """Return the tokens that an answer says it cost; 0 where it says nothing."""
    usage = payload.get("usage") if isinstance(payload, Mapping) else None
    used = (usage.get("total_tokens") or usage.get("prompt_tokens")) if isinstance(usage, Mapping) else None
    return float(used) if isinstance(used, int | float) else 0.0


def tokens_of(text: str) -> int:
    """Return about how many tokens a text has: UTF-8 bytes by four."""
    return -(-bytes_of(text) // BYTES_PER_TOKEN)


def bytes_of(text: str) -> int:
    """Return how long a text is in UTF-8."""
    return len(text.encode("utf-8", errors="replace"))


def _host(endpoint: Endpoint) -> str:
    return endpoint.address.url.partition("://")[2].rpartition("@")[2].partition("/")[0]
